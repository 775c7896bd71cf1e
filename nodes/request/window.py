"""Which messages the model sees: the newest ones that fit, cut at a message of the user."""

from __future__ import annotations

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage

from nodes.state import INTERNAL


def is_user(message: AnyMessage) -> bool:
    """Whether the user wrote it (the grader's remarks are HumanMessages too)."""
    return isinstance(message, HumanMessage) and not message.additional_kwargs.get(INTERNAL)


def window(messages: list[AnyMessage], size: int) -> list[AnyMessage]:
    """The newest ``size`` messages, a few more where that keeps a tool call with its results. It
    begins with a message of the user: where an answer would come first, what it answers is put
    before it, however long the turn has become."""
    start = max(len(messages) - size, 0)
    while start > 0 and isinstance(messages[start], ToolMessage):
        start -= 1
    newest = messages[start:]
    if not newest or is_user(newest[0]):
        return newest
    return [*[m for m in messages[:start] if is_user(m)][-1:], *newest]


def overflow(messages: list[AnyMessage], size: int) -> list[AnyMessage]:
    """The oldest messages, to be summarised, once the state holds half a window too many.

    Cut before a message of the user, so that no answer is torn apart; empty when there is no need.
    """
    if len(messages) <= size + max(size // 2, 2):
        return []
    cut = len(messages) - size
    while cut < len(messages) and not is_user(messages[cut]):
        cut += 1
    return messages[:cut] if cut < len(messages) else []
