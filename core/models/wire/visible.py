"""The visible text of an answer: where its lines begin, and what of it is code."""

from __future__ import annotations

from core.models.wire.collector import Collector


class Visible:
    """Text goes through ``say``. ``blank``: nothing but space was said; ``line_blank``: nothing but
    space was said on this line."""

    def __init__(self, out: Collector) -> None:
        self.blank = True
        self.line_blank = True
        self._out = out
        self._lead: list[str] = []
        self._fence = ""
        self._inline = 0

    @property
    def in_code(self) -> bool:
        """The next word stands in a fence or in inline code."""
        return bool(self._fence or self._inline)

    @property
    def last(self) -> str:
        """The last character that was shown, or nothing."""
        return self._out.last

    def say(self, text: str) -> None:
        """Add text. Empty lines at the start go, the indentation of the first line stays."""
        if self.line_blank and text and not text.isspace():
            self.line_blank = False
        if not self.blank:
            self._out.text(text)
            return
        space = len(text) - len(text.lstrip())
        if (line := text.rfind("\n", 0, space)) >= 0:
            self._lead, text = [], text[line + 1 :]
        self._lead.append(text)
        if text and not text.isspace():
            self._out.text("".join(self._lead))
            self.blank, self._lead = False, []

    def end_line(self, ends: str) -> None:
        """Say one or several line ends; inline code does not go beyond them."""
        self.say(ends)
        self.line_blank, self._inline = True, 0

    def mark(self, mark: str) -> None:
        """Say a mark of code, which begins or ends a fence or inline code."""
        at_start = self.line_blank
        self.say(mark)
        if self._fence:
            if at_start and mark.startswith(self._fence):
                self._fence = ""
        elif at_start and len(mark) >= 3:
            self._fence = mark
        elif mark.startswith("`"):
            self._inline = 0 if self._inline == len(mark) else (self._inline or len(mark))

    def forget_indent(self) -> None:
        """What was said so far was space before something that is not shown."""
        self._lead = []

    def restart(self) -> None:
        """All that was said was thinking."""
        self._out.reclassify()
        self.blank = True
