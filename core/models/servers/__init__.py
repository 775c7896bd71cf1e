"""Model servers: where they are, what they can do."""
