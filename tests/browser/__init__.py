"""Browser tests of the dashboard against a scripted API."""
