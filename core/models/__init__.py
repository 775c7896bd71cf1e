"""The model gateway: everything that talks to a language model."""
