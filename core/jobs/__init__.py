"""Background jobs and schedules."""
