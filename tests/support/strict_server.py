"""A model server that counts tokens as tokenizers do and takes nothing over its context: it refuses
in the words of real servers, or cuts the conversation without a word."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from aiohttp import web

from tests.support.quirks_server import DONE, answer, chunk, refuse

Manner = Literal["llamacpp", "lmstudio", "vllm", "unnamed", "silent"]
Reply = Callable[[dict[str, Any]], list[tuple[str, dict[str, Any]]] | str]
"""Body of a request that was taken → calls of tools, or the words of an answer."""

PARTS = re.compile(
    r"(?P<latin>[A-Za-z]+)|(?P<digit>\d)|(?P<space>\s+)|(?P<sign>[!-/:-@\[-`{-~]+)|(?P<other>.)",
    re.DOTALL,
)
TEMPLATE = 5
"""Tokens around each message."""
TOOLS_TEMPLATE = 120
"""Tokens around the schemas of tools."""


@lru_cache(maxsize=2000)
def tokens(text: str, *, bytewise: bool = False) -> int:
    """As tokenizers of current models count: a digit is a token, and so are two or three letters of
    other scripts; ``bytewise``: as the older ones, which know no other scripts."""
    count = 0.0
    for part in PARTS.finditer(text):
        size = part.end() - part.start()
        match part.lastgroup:
            case "latin":
                count += -(-size // 5)
            case "digit":
                count += 1
            case "space":
                count += 0 if size == 1 else -(-size // 4)
            case "sign":
                count += -(-size // 2)
            case _:
                raw = len(part.group().encode("utf-8", "replace"))
                count += raw if bytewise else {2: 0.4, 3: 0.9}.get(raw, 2)
    return round(count)


@dataclass
class StrictServer:
    """``says`` is the context that it tells of itself, None: nothing."""

    context: int
    manner: Manner = "llamacpp"
    says: int | None = None
    bytewise: bool = False
    counts: bool = True
    reply: Reply = lambda body: "An answer."
    taken: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sizes: list[int] = field(default_factory=list[int])
    refused: int = 0
    cut: int = 0

    def size(self, body: dict[str, Any]) -> int:
        """Tokens of a prompt."""
        count = sum(self._message(message) for message in body["messages"])
        if body.get("tools"):
            count += TOOLS_TEMPLATE + self._tokens(json.dumps(body["tools"]))
        return count

    def _message(self, message: dict[str, Any]) -> int:
        calls = message.get("tool_calls")
        return TEMPLATE + self._tokens(
            str(message["content"]) + (json.dumps(calls) if calls else "")
        )

    def _tokens(self, text: str) -> int:
        return tokens(text, bytewise=self.bytewise)

    async def chat(self, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        """Take or refuse one request."""
        size = self.size(body)
        if size + self._wanted(body) > self.context:
            if self.manner != "silent":
                self.refused += 1
                return self._refuse(size, body)
            self.cut += 1
            size = self.context
        self.taken.append(body)
        self.sizes.append(size)
        return await self._answer(body, request, size)

    def _wanted(self, body: dict[str, Any]) -> int:
        """Room for an answer; only vLLM reserves all that is asked for."""
        return int(body.get("max_tokens") or 1) if self.manner == "vllm" else 1

    def _refuse(self, size: int, body: dict[str, Any]) -> web.Response:
        match self.manner:
            case "llamacpp":
                said = "the request exceeds the available context size, try increasing it"
                fields = {"n_prompt_tokens": size, "n_ctx": self.context}
                return refuse(400, said, type="exceed_context_size_error", **fields)
            case "lmstudio":
                said = (
                    f"Trying to keep the first {size} tokens when context the overflows. However, "
                    f"the model is loaded with context length of only {self.context} tokens"
                )
                return web.json_response({"error": said}, status=400)
            case "vllm":
                wanted = self._wanted(body)
                return refuse(
                    400,
                    f"This model's maximum context length is {self.context} tokens. However, you "
                    f"requested {size + wanted} tokens ({size} in the messages, {wanted} in the "
                    "completion).",
                )
            case _:
                return refuse(400, "the request exceeds the available context size")

    async def _answer(
        self, body: dict[str, Any], request: web.Request, size: int
    ) -> web.StreamResponse:
        reply = self.reply(body)
        usage = {"prompt_tokens": size, "completion_tokens": 5, "total_tokens": size + 5}
        more: dict[str, Any] = {"usage": usage} if self.counts else {}
        if isinstance(reply, str):
            return await answer(request, chunk({"content": reply}), chunk({}, "stop", **more), DONE)
        calls = [
            {
                "index": n,
                "id": f"call_{len(self.taken)}_{n}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(given)},
            }
            for n, (name, given) in enumerate(reply)
        ]
        return await answer(
            request, chunk({"tool_calls": calls}), chunk({}, "tool_calls", **more), DONE
        )

    def about(self, request: web.Request) -> web.Response:
        """Whatever else it is asked."""
        if request.path == "/props" and self.says is not None:
            return web.json_response({"default_generation_settings": {"n_ctx": self.says}})
        return web.json_response({"error": "no such path"}, status=404)


SCRIPTS = {
    "english": "the old harbour was quiet and nobody knew why it had been closed ",
    "russian": "в старой гавани было тихо, и никто не знал, почему её закрыли ",
    "chinese": "旧港口很安静，没有人知道它为什么被关闭了。",
    "emoji": "🙂👍🏽🚀🇪🇺 ok ",
    "code": "    if (items[i].count >= limit) {\n        return total / (limit - 1);\n    }\n",
    "digits": "3141592653589793238462643383279502884197 ",
    "hex": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b ",
}


def words(random: random.Random, most: int, kinds: tuple[str, ...] = tuple(SCRIPTS)) -> str:
    """A text of at most about so many tokens, of one kind."""
    kind = random.choice(kinds)
    piece = SCRIPTS[kind]
    size = random.randint(1, max(most, 1))
    return piece * (size // max(tokens(piece), 1) + 1)
