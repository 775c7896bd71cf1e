"""Text that is held back until it is clear what it is."""

from __future__ import annotations

import re

from core.models.wire.dialects.grammar import Words

SPACE = re.compile(r"\s*+")


class Held:
    """A text with a place in it that only moves on; nothing is copied or looked at twice."""

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self._parts: list[str] = []
        self._tail = ""

    def __bool__(self) -> bool:
        return self.at < len(self.text)

    def add(self, text: str) -> None:
        """Add a piece. What is kept in ``text`` is short: the beginning of a word, or a header."""
        self.text = self.text[self.at :] + text if self.text else text
        self.at = 0

    def starts(self, count: int = 1) -> str:
        """The next characters."""
        return self.text[self.at : self.at + count]

    def take(self, count: int) -> str:
        """The next characters, gone from here."""
        head = self.text[self.at : self.at + count]
        self.at += count
        return head

    def skip_space(self) -> None:
        """Go on to the next word."""
        if match := SPACE.match(self.text, self.at):
            self.at = match.end()

    def rest(self) -> str:
        """All that is left, gone from here."""
        whole = "".join(self._parts) + self.text[self.at :]
        self._parts, self._tail, self.text, self.at = [], "", "", 0
        return whole

    def until(self, words: Words) -> tuple[str, str] | None:
        """All up to one of the words, and the word, once that has come; until then the text is kept
        in parts."""
        reach = max(1, words.reach - 1)
        # The word may have begun in the text before.
        edge = self._tail + self.starts(reach)
        match = words.pattern.search(edge)
        if match is not None:
            stop = self.at + match.end() - len(self._tail)
        elif match := words.pattern.search(self.text, self.at):
            stop = match.end()
        else:
            last = self.text[max(self.at, len(self.text) - reach) :]
            self._tail = (self._tail + last)[-reach:]
            self._parts.append(self.take(len(self.text) - self.at))
            return None
        self._parts.append(self.take(stop - self.at))
        whole, word = "".join(self._parts), match.group()
        self._parts, self._tail = [], ""
        return whole[: -len(word)], word
