"""Settings that change while processes run."""
