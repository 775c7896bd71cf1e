"""What the span of a model call says at its end."""

from __future__ import annotations

from opentelemetry.trace import Span

from core.models.wire.pieces import Finish


def describe_call(span: Span, finish: Finish, *, cloud: bool, seconds_to_first: float) -> None:
    """What is known at the end of a model call."""
    if not span.is_recording():
        return
    model = finish.model.removeprefix("cloud:")
    span.update_name(f"chat {model}")
    span.set_attributes(
        {
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "gen_ai.response.finish_reasons": [finish.reason],
            "gen_ai.response.time_to_first_chunk": seconds_to_first,
            "gen_ai.usage.input_tokens": finish.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": finish.usage.completion_tokens,
            "gen_ai.provider.name": "openai" if cloud else "local",
        }
    )
