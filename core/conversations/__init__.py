"""Conversations: what comes in, what was said, and what readers hear of it."""
