"""The OpenAI face."""
