"""The scripted model of `assistant demo`."""
