"""Whether something grows: a straight line through samples, after a part for warming up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WARM_UP = 1 / 3
"""The part of a run that counts for nothing: caches fill, memory settles."""

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Line:
    """The line through some samples, where it begins and where it ends."""

    start: float
    end: float
    per_hour: float

    @property
    def growth(self) -> float:
        """By how much of its start it grew over the measured time."""
        return (self.end - self.start) / self.start if self.start else 0.0


def line(times: Sequence[float], values: Sequence[float]) -> Line:
    """Least squares over what comes after the warm-up. Times in seconds, rising."""
    begin = times[0] + WARM_UP * (times[-1] - times[0])
    points = [(t, v) for t, v in zip(times, values, strict=True) if t >= begin]
    middle = sum(t for t, _ in points) / len(points)
    mean = sum(v for _, v in points) / len(points)
    spread = sum((t - middle) ** 2 for t, _ in points)
    slope = sum((t - middle) * (v - mean) for t, v in points) / spread if spread else 0.0
    first, last = points[0][0], points[-1][0]
    return Line(mean + slope * (first - middle), mean + slope * (last - middle), HOUR * slope)
