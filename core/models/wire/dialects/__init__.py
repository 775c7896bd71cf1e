"""How families of models write tool calls and thinking as text: one file a family."""
