"""From bytes of a model server to pieces of an answer."""
