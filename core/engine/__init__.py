"""Running turns and background jobs."""
