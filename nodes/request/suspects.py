"""What a server may have refused a conversation for, and what is left without it.

The server took the request before this one. So when it refuses, what came since then is at fault:
the results of tools, or else something of earlier turns, for instance after the model was changed.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from langchain_core.messages import AnyMessage, RemoveMessage, SystemMessage, ToolMessage

from core.events import Notice
from core.models.errors import ModelError
from nodes.reducer import messages_reducer
from nodes.request.window import is_user
from nodes.state import Emit, State, any_untrusted

LEFT_OUT = "(This result is left out: the model server refused it.)"
WITHOUT_RESULTS = (
    "The model server refused what the tools returned; the answer is written without it."
)
WITHOUT_PAST = (
    "The model server refused this conversation; it goes on without its earlier messages."
)


class Suspects:
    """A conversation for one answer: asked about as it is, then once without what may be at
    fault."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._changes: list[Any] | None = None

    def leave_out(self, error: ModelError, emit: Emit) -> bool:
        """Change the conversation after a refusal; False: it was none, or nothing is left to leave
        out."""
        if not error.refused or self._changes is not None:
            return False
        messages = self.state["messages"]
        self._changes = _results(messages) or _past(messages)
        if not self._changes:
            return False
        results = isinstance(messages[-1], ToolMessage)
        emit(Notice("warning", WITHOUT_RESULTS if results else WITHOUT_PAST))
        shown: Any = messages_reducer(messages, self._changes)
        self.state = self.state.copy()
        self.state["messages"] = shown
        return True

    def remembered(self, update: dict[str, Any], before: list[AnyMessage]) -> dict[str, Any]:
        """The update of an answer that was given: what was left out stays out, so that the server
        is never sent it again."""
        if not self._changes:
            return update
        changed = {**update, "messages": [*self._changes, *update["messages"]]}
        return {**changed, "untrusted": True} if any_untrusted(before) else changed


def _results(messages: list[AnyMessage]) -> list[AnyMessage]:
    """The results of the last calls, with a note in place of each."""
    newest = takewhile(lambda message: isinstance(message, ToolMessage), reversed(messages))
    return [message.model_copy(update={"content": LEFT_OUT}) for message in newest]


def _past(messages: list[AnyMessage]) -> list[RemoveMessage]:
    """Removal of all that was said before the user's last message."""
    asked = max((n for n, message in enumerate(messages) if is_user(message)), default=0)
    old = (m for m in messages[:asked] if not isinstance(m, SystemMessage))
    return [RemoveMessage(id=str(message.id)) for message in old]
