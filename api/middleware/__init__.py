"""What every request passes, and what routes learn from it."""
