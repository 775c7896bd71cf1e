"""What a test of the connection asks a model."""

from __future__ import annotations

from typing import Any

READY = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "Reply with the single word: ready"},
]
CALL = [{"role": "user", "content": "What is the weather in Paris? Use the tool get_weather."}]
PLAIN = [{"role": "user", "content": "What is two plus two? Answer with one word."}]
COLOUR = [{"role": "user", "content": 'Name a colour as JSON, like {"colour": "red"}.'}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
COLOUR_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "colour",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"colour": {"type": "string"}},
            "required": ["colour"],
            "additionalProperties": False,
        },
    },
}
