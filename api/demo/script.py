"""What the scripted model says: rules over the last user message, the same question same answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import orjson

Language = Literal["en", "ru"]

SLOW = 5.0
"""How much slower the long answer is written, so that there is time to press Stop."""

BENCH = re.compile(r"bench:(\d{1,5})(?::(\d{1,5}))?$")
TOOL = re.compile(r"tool:([\w.-]+)\s*(\{.*\})?$", re.DOTALL)
CYRILLIC = re.compile(r"[а-яё]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of an offered tool; ``arguments`` is JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; with an ``error``, ``text`` is what a second attempt gets.

    ``tokens`` replaces ``text`` where their number matters; ``interval`` is the exact time between
    them in seconds (None: the server's pace, made ``slower``).
    """

    text: str = ""
    reasoning: str = ""
    call: ToolCall | None = None
    error: str = ""
    tokens: tuple[str, ...] = ()
    interval: float | None = None
    slower: float = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the script needs of a request.

    ``said`` is the last paragraph of the last user message: a message that failed before may stand
    in front of it, in the same message.
    """

    said: str
    system: str
    messages: int
    tools: Mapping[str, Mapping[str, Any]]
    choice: str
    schema: Mapping[str, Any] | None
    result_of: ToolCall | None
    result: str
    characters: int = field(compare=False)

    @property
    def language(self) -> Language:
        """The language of the question."""
        return "ru" if CYRILLIC.search(self.said) else "en"


def understand(body: Mapping[str, Any]) -> Asked:
    """Read a chat completion request; whatever is missing or of another type counts as empty."""
    messages = [_dict(item) for item in _list(body.get("messages"))]
    users = [i for i, m in enumerate(messages) if m.get("role") == "user"]
    last = users[-1] if users else -1
    paragraphs = _text(messages[last]).strip().split("\n\n") if users else [""]
    functions = [_dict(_dict(tool).get("function")) for tool in _list(body.get("tools"))]
    tools = {str(f.get("name")): _dict(f.get("parameters")) for f in functions}
    result_of, result = _result(messages[last + 1 :])
    return Asked(
        said=paragraphs[-1].strip(),
        system="\n\n".join(_text(m) for m in messages if m.get("role") in ("system", "developer")),
        messages=len(messages),
        tools=tools,
        choice=_choice(body.get("tool_choice"), tools),
        schema=_schema(body.get("response_format")),
        result_of=result_of,
        result=result,
        characters=sum(len(_text(m)) for m in messages),
    )


def _result(later: Sequence[dict[str, Any]]) -> tuple[ToolCall | None, str]:
    """The last call since the user spoke, and what it brought."""
    calls = [_dict(_dict(c).get("function")) for m in later for c in _list(m.get("tool_calls"))]
    results = [_text(m) for m in later if m.get("role") == "tool"]
    if not calls or not results:
        return None, ""
    return ToolCall(str(calls[-1].get("name")), str(calls[-1].get("arguments"))), results[-1]


def _choice(value: object, tools: Mapping[str, object]) -> str:
    """ "none", "auto", or the name of the tool that must be called."""
    if isinstance(value, dict):
        return str(_dict(cast("object", _dict(cast("object", value)).get("function"))).get("name"))
    if value in ("required", "any") and tools:
        return next(iter(tools))
    return "none" if value == "none" else "auto"


def _schema(value: object) -> Mapping[str, Any] | None:
    form = _dict(value)
    if form.get("type") == "json_object":
        return {}
    return _dict(_dict(form.get("json_schema")).get("schema")) if form else None


def reply(asked: Asked) -> Reply:
    """The answer."""
    if '"score"' in asked.system:
        return Reply('{"score":0.9,"missing":""}')
    if "keep the summary" in asked.system:
        return Reply(
            f"The user and the scripted demo model talked; the last words were: {asked.said[-200:]}"
        )
    if asked.result_of is not None:
        return _after_tool(asked, asked.result_of)
    if asked.choice in asked.tools:
        arguments = example(asked.tools[asked.choice])
        return Reply(call=ToolCall(asked.choice, orjson.dumps(arguments).decode()))
    if asked.schema is not None:
        return Reply(orjson.dumps(example(asked.schema)).decode())
    return _special(asked) or _by_rule(asked)


def _special(asked: Asked) -> Reply | None:
    """What benchmarks and tests ask for."""
    if found := BENCH.match(asked.said):
        count, pause = int(found[1]), int(found[2] or 0)
        return Reply(tokens=bench_tokens(count), interval=pause / 1000)
    if found := TOOL.match(asked.said):
        return _call(asked, found[1], found[2] or "{}")
    return None


@lru_cache(maxsize=8)
def bench_tokens(count: int) -> tuple[str, ...]:
    """Short, numbered tokens: a missing or doubled one is seen at once."""
    return tuple(f"t{n} " for n in range(1, count + 1))


def _by_rule(asked: Asked) -> Reply:
    for pattern, answer in RULES:
        if found := pattern.search(asked.said):
            return answer(asked, found)
    return Reply(SAY["echo"][asked.language].format(said=asked.said[:500] or "…"))


def _call(asked: Asked, name: str, arguments: str, reasoning: str = "") -> Reply:
    """Call a tool if it may be called."""
    if asked.choice == "none" or name not in asked.tools:
        return Reply(SAY["no tool"][asked.language].format(name=name))
    return Reply(reasoning=reasoning, call=ToolCall(name, arguments))


def _after_tool(asked: Asked, call: ToolCall) -> Reply:
    """Answer with what the tool brought, whatever it was."""
    if TOOL.match(asked.said):
        return Reply(asked.result)
    name = (
        "stored" if call.name == "set_profile" and asked.result.startswith("stored") else call.name
    )
    text = SAY.get(name, SAY["other tool"])[asked.language]
    lines = "\n".join(f"- {line}" for line in asked.result.splitlines())
    value = asked.result.partition(": ")[2]
    return Reply(text.format(result=asked.result, lines=lines, value=value, name=call.name))


# ---- rules


def _ready(_asked: Asked, found: re.Match[str]) -> Reply:
    return Reply(found[1])


def _tour(asked: Asked, _found: re.Match[str]) -> Reply:
    return Reply(text_file("tour", asked.language))


def _error(asked: Asked, found: re.Match[str]) -> Reply:
    if found["always"]:
        return Reply(error="This is the scripted error that you asked for; it comes every time.")
    detail = "This is the scripted error that you asked for; the next attempt goes well."
    return Reply(SAY["recovered"][asked.language], error=detail)


def _name(asked: Asked, found: re.Match[str]) -> Reply:
    arguments = orjson.dumps({"key": "name", "value": found[1].strip()}).decode()
    return _call(asked, "set_profile", arguments, SAY["think name"][asked.language])


def _about_me(asked: Asked, _found: re.Match[str]) -> Reply:
    return _call(asked, "get_profile", "{}", SAY["think profile"][asked.language])


def _time(asked: Asked, _found: re.Match[str]) -> Reply:
    return _call(asked, "current_time", "{}", SAY["think time"][asked.language])


def _think(asked: Asked, _found: re.Match[str]) -> Reply:
    return Reply(SAY["thought"][asked.language], reasoning=text_file("thinking", asked.language))


def _long(asked: Asked, _found: re.Match[str]) -> Reply:
    return Reply(text_file("long", asked.language), slower=SLOW)


Rule = tuple[re.Pattern[str], Callable[[Asked, re.Match[str]], Reply]]


def _rule(pattern: str, answer: Callable[[Asked, re.Match[str]], Reply]) -> Rule:
    return re.compile(pattern, re.IGNORECASE), answer


RULES: tuple[Rule, ...] = (
    _rule(r"single word: (\w+)", _ready),
    _rule(r"\b(?:my name is|call me|меня зовут)\s+([^.,!?\n]{1,80})", _name),
    _rule(r"know about me|who am i\b|знаешь обо мне|кто я\b", _about_me),
    _rule(r"\b(?P<always>always |всегда )?(?:error\b|ошибк)", _error),
    _rule(r"\btime\b|\bdate\b|\bwhat day\b|\bврем|который час|\bдата\b|какой день", _time),
    _rule(r"\bthink\b|\bподума|\bразмышля", _think),
    _rule(r"\blong\b|\bдлинн|\bподробно", _long),
    _rule(
        r"^(?:(?:hi|hello|hey|help|good (?:morning|day|evening))\b|привет|здравствуй|добр|помо[гщ])"
        r"|what can you do|what do you do|что ты умеешь|что ты можешь|что вы умеете",
        _tour,
    ),
)
"""Tried in this order; the first that fits answers."""

SAY: dict[str, dict[Language, str]] = {
    "think time": {
        "en": "The user asks for the time. I cannot know it by myself, so I call current_time.",
        "ru": "Спрашивают о времени. Сам я его знать не могу, поэтому вызову current_time.",
    },
    "think name": {
        "en": "The user tells me their name. That is worth keeping, so I call set_profile.",
        "ru": "Мне назвали имя. Его стоит запомнить, поэтому вызову set_profile.",
    },
    "think profile": {
        "en": "I should not guess what is stored about the user, so I call get_profile.",
        "ru": "Гадать, что сохранено о пользователе, нельзя, поэтому вызову get_profile.",
    },
    "current_time": {
        "en": "The tool `current_time` says:\n\n> **{result}**\n\n"
        "A real model would put it in its own words.",
        "ru": "Инструмент `current_time` отвечает:\n\n> **{result}**\n\n"
        "Настоящая модель сказала бы это своими словами.",
    },
    "stored": {
        "en": "Nice to meet you, **{value}**! The tool stored your name; ask "
        "*What do you know about me?*",
        "ru": "Приятно познакомиться, **{value}**! Инструмент запомнил имя; спросите: "
        "*Что ты знаешь обо мне?*",
    },
    "get_profile": {
        "en": "This is stored about you:\n\n{lines}",
        "ru": "Вот что о вас сохранено:\n\n{lines}",
    },
    "other tool": {
        "en": "The tool `{name}` answered:\n\n> {result}",
        "ru": "Инструмент `{name}` ответил:\n\n> {result}",
    },
    "no tool": {
        "en": "I would call the tool `{name}` here, but it is not offered to me.",
        "ru": "Здесь я вызвал бы инструмент `{name}`, но он мне не предложен.",
    },
    "thought": {
        "en": "I have thought about it: open the folded part above to read how. I am a **script**, "
        "so the thinking was written beforehand; a real reasoning model shows its own there.",
        "ru": "Я подумал: разверните часть выше, чтобы прочитать как. Я **сценарий**, и "
        "размышление написано заранее; настоящая рассуждающая модель покажет там своё.",
    },
    "recovered": {
        "en": "This time it worked. The first attempt failed on purpose, and *try again* brought "
        "this answer.",
        "ru": "На этот раз получилось. Первая попытка не удалась нарочно, а повтор принёс этот "
        "ответ.",
    },
    "echo": {
        "en": "You wrote: “{said}”\n\nI am a **scripted demo model** and know only a few answers; "
        "write `help` to see them. To connect a real model, start LM Studio, Ollama or llama.cpp "
        "and open **Settings → Find local servers**.",
        "ru": "Вы написали: «{said}»\n\nЯ **модель-сценарий** и знаю лишь несколько ответов; "
        "напишите `помощь`, чтобы их увидеть. Чтобы подключить настоящую модель, запустите "
        "LM Studio, Ollama или llama.cpp и откройте **Настройки → Найти локальные серверы**.",
    },
}


@cache
def text_file(name: str, language: Language) -> str:
    """One of the longer answers."""
    path = Path(__file__).parent / "texts" / f"{name}.{language}.md"
    return path.read_text(encoding="utf-8").strip()


# ---- plain JSON


def example(schema: Mapping[str, Any]) -> Any:
    """A value that fits a simple JSON schema."""
    options = _list(schema.get("enum"))
    if options:
        return options[0]
    match schema.get("type"):
        case "string":
            return "demo"
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "array":
            return []
        case _:
            properties = _dict(schema.get("properties"))
            wanted = _list(schema.get("required")) or list(properties)
            return {str(name): example(_dict(properties.get(name))) for name in wanted}


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(_dict(part).get("text") or "") for part in _list(content))


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
