"""The web pages: chat, settings, sign-in and first set-up."""
