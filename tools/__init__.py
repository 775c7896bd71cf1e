"""Tools: what the model may do. One file per toolset, one explicit list."""
