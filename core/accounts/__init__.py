"""Who uses the assistant: accounts, passwords, sessions, API keys, user data."""
