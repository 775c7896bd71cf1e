"""What the model is asked, and what is shown of its answer."""
