"""What of a conversation a request does not hold, in words for the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.events import Notice
from core.models.estimate import message_tokens, messages_tokens

Message = dict[str, Any]

MIDDLE = (
    "The middle of your message was left out: about {sent:,} of {whole:,} tokens reach the model. "
    "A larger context or a shorter message helps."
)
PAST = (
    "Older messages were left out or shortened: of what was said before your message, about "
    "{sent:,} of {whole:,} tokens reach the model. A larger context helps."
)
WINDOW = (
    "The model now reads the newest {kept} of {all} messages word for word; older ones become a "
    "summary (memory.short_term_window)."
)

KEPT_KEYS = 20
"""What a conversation remembers to have told."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """``said``: all messages that there are; ``seen``: those within the window; ``sent``: what the
    request holds. Messages that were not shortened are the same objects in all three."""

    said: Sequence[Message]
    seen: Sequence[Message]
    sent: Sequence[Message]

    def notices(self, size: str, told: Sequence[str]) -> Iterator[tuple[str, Notice]]:
        """What was not told yet, each under its key. ``size`` names the context and the window:
        with others it is told again."""
        whole, sent = _asked(self.said), _asked(self.sent)
        if whole >= 0 and sent >= 0 and self.said[whole] is not self.sent[sent]:
            asked = self.said[whole]
            # The same text again is the same news: a turn of several rounds sends it each time.
            key = f"message {size} {message_tokens(asked)}"
            if key not in told:
                yield key, Notice("warning", _counted(MIDDLE, [self.sent[sent]], [asked]))
        before, left = self.seen[: max(_asked(self.seen), 0)], self.sent[: max(sent, 0)]
        if not _same(before, left) and (key := f"past {size}") not in told:
            yield key, Notice("info", _counted(PAST, left, before))
        elif len(self.seen) < len(self.said) and (key := f"window {size}") not in told:
            words = WINDOW.format(kept=len(self.seen), all=len(self.said))
            yield key, Notice("info", words)


def _asked(messages: Sequence[Message]) -> int:
    """Place of the user's last message; -1: there is none."""
    places = (n for n in range(len(messages) - 1, -1, -1) if messages[n]["role"] == "user")
    return next(places, -1)


def _same(one: Sequence[Message], other: Sequence[Message]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _counted(words: str, sent: Sequence[Message], whole: Sequence[Message]) -> str:
    return words.format(sent=messages_tokens(sent), whole=messages_tokens(whole))
