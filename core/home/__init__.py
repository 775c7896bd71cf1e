"""This machine's data folder: the embedded server, private files, sealed secrets."""
