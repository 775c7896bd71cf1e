"""Every recorded quirk of a model server, with what the gateway must make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from core.events import Usage
from core.models.errors import ErrorKind, ModelError
from core.models.gateway import Gateway
from core.models.servers.catalog import ModelInfo, list_models
from core.models.wire.pieces import FinishReason, ModelAnswer
from core.models.wire.transport import open_transport
from core.settings.groups import Settings
from tests.support.gateways import ASK, NOW, WEATHER
from tests.support.quirks_server import ModelServer, load_scenarios

PARIS = ("get_weather", {"city": "Paris"})
ROME = ("get_weather", {"city": "Rome"})
COUNTED = Usage(11, 5)


@dataclass(frozen=True)
class Gives:
    """The answer. ``usage`` None: an estimate. ``ids`` None: made up, unique."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    finish: FinishReason = "stop"
    usage: Usage | None = None
    ids: tuple[str, ...] | None = None
    notice: str = ""


@dataclass(frozen=True)
class Fails:
    """The error, and what was shown before it."""

    kind: ErrorKind
    window: int | None = None
    parameter: str | None = None
    text: str = ""
    detail: str = ""


HELLO = Gives("Hello")
THOUGHT = Gives("Hello", "think more")
CALLED = Gives(calls=(PARIS,), finish="tool_calls", ids=("call_1",))
CALLED_NO_ID = Gives(calls=(PARIS,), finish="tool_calls")

ANSWERS: dict[str, Gives | Fails] = {
    "ok": Gives("Hello", usage=COUNTED),
    "reasoning_content": THOUGHT,
    "reasoning_field": THOUGHT,
    "think_tags": THOUGHT,
    # Nothing was known of the model: its thinking was shown as text and is recalled
    # (ReclassifyPiece).
    "think_close_only": THOUGHT,
    "think_unclosed": Gives("", "forever", finish="length", notice="thinking"),
    "reasoning_only_empty_content": Gives(
        "", "all budget spent", finish="length", notice="model.max_tokens"
    ),
    "harmony_leak": Gives("Hello", "hm"),
    "tool_ok": CALLED,
    "tool_index0_all": Gives(calls=(PARIS, ROME), finish="tool_calls", ids=("call_a", "call_b")),
    "tool_no_index": Gives(calls=(PARIS,), finish="tool_calls", ids=("call_a",)),
    "tool_no_id": CALLED_NO_ID,
    "tool_empty_id": CALLED_NO_ID,
    "tool_finish_stop": CALLED,
    "tool_args_object": CALLED,
    "tool_args_empty": Gives(calls=(("now", {}),), finish="tool_calls", ids=("call_1",)),
    "tool_args_broken": Fails("truncated", detail="nothing was run"),
    "tool_args_null_name_repeat": CALLED,
    "tool_calls_null": HELLO,
    "text_hermes": CALLED_NO_ID,
    "text_qwen_xml": CALLED_NO_ID,
    "text_mistral": CALLED_NO_ID,
    "text_mistral_v11": CALLED_NO_ID,
    "text_pythonic": CALLED_NO_ID,
    "text_llama31": CALLED_NO_ID,
    "empty_choices_first": HELLO,
    "role_null": HELLO,
    "usage_every_chunk": Gives("Hello", usage=COUNTED),
    "usage_missing": HELLO,
    # completion_tokens is null: the total tells it.
    "usage_partial": Gives("Hello", usage=COUNTED),
    "timings_extra": HELLO,
    "comments_keepalive": HELLO,
    "event_field_crlf": HELLO,
    "no_space_after_data": HELLO,
    "no_done": HELLO,
    "no_finish_no_done": Gives("Hello", finish="truncated"),
    "cut": Fails("truncated", text="Hel"),
    "stall": Fails("stalled", text="Hel"),
    "error_in_stream_data": Fails("template", text="Hel", detail="Jinja"),
    "error_in_stream_event": Fails("other", text="Hel", detail="crashed"),
    "error_prefix_line": Fails("context_overflow", text="Hel"),
    "empty_stream": Fails("garbage", detail="empty answer"),
    "content_list": HELLO,
    "surrogates_utf8_split": Gives("Привет 👋"),
    "not_streaming": Gives("Hello", usage=COUNTED),
    "null_content_nonstream": Gives("", notice="empty answer"),
    "choices_null_200_error": Fails("unreachable", detail="upstream failed"),
    "ctx_llamacpp": Fails("context_overflow", 8192),
    "ctx_vllm": Fails("context_overflow", 4096),
    "ctx_lmstudio": Fails("context_overflow", 4096),
    "ctx_lmstudio_nkeep": Fails("context_overflow", 4096),
    "ctx_openai": Fails("context_overflow", 128000),
    "lms_no_model": Fails("no_model", detail="Load"),
    "llamacpp_loading": Fails("loading", detail="loading"),
    "ollama_no_model": Fails("no_model", detail="model 'x' not found"),
    "ollama_no_tools": Fails("no_tools", detail="tool support"),
    "vllm_no_auto_tools": Fails("no_tools", detail="--enable-auto-tool-choice"),
    "template_alternate": Fails("template"),
    "template_system": Fails("template"),
    "lms_tool_choice": Fails("bad_parameter", parameter="tool_choice"),
    "lms_json_object": Fails("bad_parameter", parameter="response_format"),
    "html_502": Fails("unreachable", detail="502 Bad Gateway"),
    "jit_slow": Gives("Hello", usage=COUNTED, notice="Still waiting"),
}

LISTS: dict[str, list[ModelInfo] | Fails] = {
    "models_openai": [ModelInfo("gpt-x", owner="openai")],
    "models_vllm": [ModelInfo("Qwen/Qwen3-8B", context=32768, owner="vllm")],
    # n_ctx_train is what the model was trained for, not what the server serves.
    "models_llamacpp": [ModelInfo("m.gguf", owner="llamacpp")],
    "models_llamacpp_router": [ModelInfo("Qwen3.6-27B", loaded=False, owner="llamacpp")],
    "models_lmstudio": [
        ModelInfo("qwen/qwen3-8b", owner="organization_owner"),
        ModelInfo("text-embedding-nomic-embed-text-v1.5", "embedding", owner="organization_owner"),
    ],
    "models_ollama": [ModelInfo("llama3:latest", owner="library")],
    "models_ollama_empty": [],
    "models_bare_list": [ModelInfo("a"), ModelInfo("b")],
    "models_llamacpp_loading": Fails("loading"),
}

TIMEOUTS: dict[str, dict[str, float]] = {
    "stall": {"idle_timeout": 0.2},
    "llamacpp_loading": {"loading_timeout": 0.05},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "lms_tool_choice": {"tool_choice": "required"},
    "lms_json_object": {"response_format": {"type": "json_object"}},
}


def test_every_recorded_quirk_has_an_expectation() -> None:
    assert set(ANSWERS) | set(LISTS) == set(load_scenarios())
    assert len(ANSWERS) + len(LISTS) == 72


@pytest.mark.parametrize("name", ANSWERS)
async def test_quirk(
    name: str,
    quirks: ModelServer,
    gateway: Gateway,
    telling: Gateway,
    at: Callable[..., Settings],
) -> None:
    settings = at(f"{quirks.url}/{name}/v1", **TIMEOUTS.get(name, {}))
    its = telling if name == "jit_slow" else gateway
    answer, error = await listen(its, settings, **PARAMETERS.get(name, {}))
    match ANSWERS[name]:
        case Gives() as expected:
            assert error is None
            check_answer(answer, expected)
        case Fails() as expected:
            assert error is not None
            check_error(error, expected)
            assert answer.text == expected.text


async def listen(
    gateway: Gateway, settings: Settings, **parameters: Any
) -> tuple[ModelAnswer, ModelError | None]:
    """The answer, as far as it came, and the error that ended it."""
    answer = ModelAnswer()
    try:
        async for pieces in gateway.stream(
            ASK, [WEATHER, NOW], settings=settings, user_id="u", thread_id="t", **parameters
        ):
            answer.add(pieces)
    except ModelError as error:
        return answer, error
    return answer, None


def check_answer(answer: ModelAnswer, expected: Gives) -> None:
    """Compare what came with what was expected."""
    assert (answer.text, answer.reasoning) == (expected.text, expected.reasoning)
    assert tuple((call.name, call.arguments) for call in answer.calls) == expected.calls
    ids = tuple(call.id for call in answer.calls)
    assert len(set(ids)) == len(ids)
    assert all(ids)
    if expected.ids is not None:
        assert ids == expected.ids
    assert answer.finish is not None
    assert answer.finish.reason == expected.finish
    assert answer.finish.model == "m"
    if expected.usage is None:
        assert answer.finish.usage.estimated
        assert answer.finish.usage.prompt_tokens > 20
    else:
        assert answer.finish.usage == expected.usage
    assert expected.notice in " ".join(notice.text for notice in answer.notices)
    assert bool(expected.notice) == bool(answer.notices)


def check_error(error: ModelError, expected: Fails) -> None:
    """Compare the error with what was expected."""
    assert error.kind == expected.kind
    assert error.code == f"model_{expected.kind}"
    assert error.context_window == expected.window
    assert error.parameter == expected.parameter
    assert expected.detail in error.detail


@pytest.mark.parametrize("name", LISTS)
async def test_model_list(name: str, quirks: ModelServer) -> None:
    quirks_of_lists = f"{quirks.url}/{name}/v1"
    expected = LISTS[name]
    async with open_transport() as transport:
        if isinstance(expected, Fails):
            with pytest.raises(ModelError) as caught:
                await list_models(transport, quirks_of_lists)
            check_error(caught.value, expected)
        else:
            assert list(await list_models(transport, quirks_of_lists)) == expected


async def test_a_slow_model_is_given_up_after_the_first_byte_timeout(
    quirks: ModelServer, gateway: Gateway, at: Callable[..., Settings]
) -> None:
    settings = at(f"{quirks.url}/jit_slow/v1", first_byte_timeout=0.1)
    answer, error = await listen(gateway, settings)
    assert error is not None
    assert error.kind == "stalled"
    assert answer.text == ""
