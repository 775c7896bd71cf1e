"""The web process opens a gateway too, and must stay small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = """
import sys
import core.models.gateway, core.models.fallback
heavy = {"langchain_core", "langchain_openai", "langgraph", "openai"}
sys.exit(" ".join(heavy & set(sys.modules)) or None)
"""


def test_the_gateway_loads_no_langchain() -> None:
    subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, check=True)
