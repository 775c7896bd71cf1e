"""What a server says of an answer beside its text: how many tokens it was, and which model wrote
it."""

from __future__ import annotations

import re
from typing import Any, cast

from core.events import Usage

WEIGHTS = re.compile(r"\.(?:gguf|safetensors|bin|llamafile)$", re.IGNORECASE)
LOCAL_PATH = re.compile(r"^(?:[A-Za-z]:[\\/]|[\\/~.])")
MAX_NAME = 300

PROMPT = ("prompt_tokens", "input_tokens", "prompt_eval_count")
COMPLETION = ("completion_tokens", "output_tokens", "eval_count")


class Reported:
    """Adds up the chunks of one answer; the last figures win: vLLM and others repeat growing ones
    in every chunk."""

    def __init__(self) -> None:
        self.model = ""
        self._prompt: int | None = None
        self._completion: int | None = None
        self._timed: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """What the server counted, None where it did not. No prompt has no tokens at all, so a zero
        means that it did not count."""
        if self._prompt and self._completion is not None:
            return Usage(self._prompt, self._completion)
        return self._timed

    def add(self, chunk: dict[str, Any]) -> None:
        """Look at one chunk."""
        # Once for each token: these are few look-ups where nothing is reported.
        if not self.model and chunk.get("model").__class__ is str:
            self.model = chunk["model"][:MAX_NAME]
        if "usage" in chunk:
            self._take(chunk["usage"])
        if "timings" in chunk:
            self._time(chunk["timings"])
        elif "x_groq" in chunk:
            self._take(_fields(chunk["x_groq"]).get("usage"))
        elif "eval_count" in chunk:
            self._take(chunk)
        choices: Any = chunk.get("choices")
        if choices and choices.__class__ is list and choices[0].__class__ is dict:
            choice: dict[str, Any] = choices[0]
            if "usage" in choice:
                self._take(choice["usage"])

    def _take(self, usage: Any) -> None:
        fields = _fields(usage)
        prompt, completion = _first(fields, PROMPT), _first(fields, COMPLETION)
        total = _count(fields.get("total_tokens"))
        if prompt is not None:
            self._prompt = prompt
            if completion is None and total is not None and total >= prompt:
                completion = total - prompt
        if completion is not None:
            self._completion = completion

    def _time(self, timings: Any) -> None:
        """llama.cpp counts in every answer, asked or not: what it read anew, what it had read
        before, and what it wrote."""
        fields = _fields(timings)
        read, written = _count(fields.get("prompt_n")), _count(fields.get("predicted_n"))
        if read is not None and written is not None:
            prompt = read + (_count(fields.get("cache_n")) or 0)
            self._timed = Usage(prompt, written) if prompt else None


def label(model: str) -> str:
    """The name of a model for people: a file's name without its folder and ending."""
    name = re.split(r"[\\/]", model.rstrip("\\/"))[-1]
    if LOCAL_PATH.match(model) or WEIGHTS.search(model):
        return WEIGHTS.sub("", name) or model
    return model


def _fields(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    return None


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> int | None:
    counts = (_count(fields.get(name)) for name in names)
    return next((count for count in counts if count is not None), None)
