"""All dialects. A new one is a file beside this one and a line here."""

from __future__ import annotations

from core.models.wire.dialects.bare import BARE
from core.models.wire.dialects.base import Dialect
from core.models.wire.dialects.deepseek import DEEPSEEK
from core.models.wire.dialects.gemma import GEMMA
from core.models.wire.dialects.glm import GLM
from core.models.wire.dialects.harmony import HARMONY
from core.models.wire.dialects.hermes import HERMES
from core.models.wire.dialects.json_tags import COMMAND, GRANITE, OTHERS
from core.models.wire.dialects.kimi import KIMI
from core.models.wire.dialects.llama import LFM, LLAMA
from core.models.wire.dialects.minimax import MINIMAX
from core.models.wire.dialects.mistral import MISTRAL
from core.models.wire.dialects.qwen_coder import QWEN_CODER

DIALECTS: tuple[Dialect, ...] = (
    HERMES,
    QWEN_CODER,
    GLM,
    MISTRAL,
    LLAMA,
    LFM,
    DEEPSEEK,
    KIMI,
    MINIMAX,
    GEMMA,
    HARMONY,
    GRANITE,
    COMMAND,
    OTHERS,
    BARE,
)
"""Where several have the same opening word, the first that can read the block wins."""
