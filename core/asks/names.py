"""Names of the questions, for those who ask and those who answer."""

from __future__ import annotations

TOOLS = "tools"
"""What the model may call. No argument; the answer is a list of {name, description, effect}."""
