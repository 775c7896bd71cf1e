"""Collects what one network read brings and joins neighbours, so that few pieces travel on."""

from __future__ import annotations

from core.models.wire.pieces import Piece, ReasoningPiece, ReclassifyPiece, TextPiece


class Collector:
    """Text and thinking in order; ``take`` hands out what came since the last time."""

    def __init__(self) -> None:
        self._out: list[Piece] = []
        self._kind: type[TextPiece] | type[ReasoningPiece] = TextPiece
        self._parts: list[str] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._delivered = False
        self.size = 0

    @property
    def visible(self) -> str:
        """All text of the answer."""
        return "".join(self._text)

    @property
    def last(self) -> str:
        """The last visible character, or nothing."""
        return self._text[-1][-1] if self._text else ""

    @property
    def thought(self) -> str:
        """All thinking of the answer."""
        return "".join(self._reasoning)

    def text(self, text: str) -> None:
        """Add visible text."""
        if text:
            self._text.append(text)
            if self._kind is not TextPiece:
                self._turn_to(TextPiece)
            self._parts.append(text)
            self.size += len(text)

    def reasoning(self, text: str) -> None:
        """Add thinking."""
        if text:
            self._reasoning.append(text)
            if self._kind is not ReasoningPiece:
                self._turn_to(ReasoningPiece)
            self._parts.append(text)
            self.size += len(text)

    def reclassify(self) -> None:
        """All visible text was thinking. Recall it where it is not handed out yet."""
        self._flush()
        text, self._text = self.visible, []
        self._reasoning.append(text)
        if self._delivered:
            self._out.append(ReclassifyPiece(text))
        else:
            self._out = [
                ReasoningPiece(piece.text) if isinstance(piece, TextPiece) else piece
                for piece in self._out
            ]

    def put(self, piece: Piece) -> None:
        """Add any other piece, in order."""
        self._flush()
        self._out.append(piece)

    def take(self) -> list[Piece]:
        """What came since the last time."""
        self._flush()
        self._delivered = self._delivered or bool(self._text)
        out, self._out = self._out, []
        return out

    def _turn_to(self, kind: type[TextPiece] | type[ReasoningPiece]) -> None:
        self._flush()
        self._kind = kind

    def _flush(self) -> None:
        if self._parts:
            self._out.append(self._kind("".join(self._parts)))
            self._parts = []
