"""Support for tests: servers at the far end of a wire, waiting."""
