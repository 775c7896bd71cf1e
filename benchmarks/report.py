"""The figures as Markdown, beside what they should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.latency import PAUSE_MS, TOKENS, Latency, Storage
from benchmarks.load import Load
from benchmarks.readers import Readers
from benchmarks.rest import Idle, Start, Stored
from benchmarks.scale import Fairness
from benchmarks.subjects import ROOT

DOCS = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
OURS, BARE = "assistant", "bare app"


@dataclass
class Results:
    """All that a run found; parts that were left out are empty."""

    machine: dict[str, object] = field(default_factory=dict[str, object])
    latency: list[Latency] = field(default_factory=list[Latency])
    length: list[Latency] = field(default_factory=list[Latency])
    processes: dict[str, float] = field(default_factory=dict[str, float])
    storage: list[Storage] = field(default_factory=list[Storage])
    load: list[Load] = field(default_factory=list[Load])
    scale: list[Load] = field(default_factory=list[Load])
    fairness: list[Fairness] = field(default_factory=list[Fairness])
    readers: Readers | None = None
    idle: Idle | None = None
    start: list[Start] = field(default_factory=list[Start])
    stored: list[Stored] = field(default_factory=list[Stored])


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be; ``least`` for those that should be large."""

    name: str
    limit: float
    figure: float
    unit: str
    least: bool = False

    def row(self) -> list[str]:
        """A line of the table."""
        good = self.figure >= self.limit if self.least else self.figure <= self.limit
        sign = "≥" if self.least else "≤"
        shown = f"{self.figure:,.1f} {self.unit}".strip()
        limit = f"{sign} {self.limit:g} {self.unit}".strip()
        return [self.name, limit, shown, "ok" if good else "**miss**"]


def targets(results: Results) -> Iterator[Target]:
    """The promises that can be checked with what was measured."""
    for fresh in results.latency:
        if fresh.subject == OURS and not fresh.pause_ms:
            yield Target("added time to first token, p50", 8, fresh.first, "ms")
            yield Target("added time to first token, p95", 15, fresh.first_p95, "ms")
            yield Target(f"added total for {TOKENS} tokens, p50", 15, fresh.total, "ms")
            yield Target("CPU per turn, all processes", 12, fresh.cpu, "ms")
    yield from _flat(results)
    for stored in results.storage:
        name = f"stored per turn beyond the texts, turns {stored.first + 1:,} to {stored.last:,}"
        yield Target(name, 2, stored.beyond / 1024, "KB")
    yield from _at_once(results)
    yield from _of_many(results)
    yield from _for_readers(results)
    if results.idle is not None:
        yield Target("idle memory of the whole group (PSS)", 250, results.idle.pss, "MiB")
        yield Target("idle CPU of the whole group", 0.5, results.idle.cpu, "% of a core")
    if results.start:
        ready = median(start.ready for start in results.start)
        yield Target("cold start of `assistant up`", 2, ready, "s")


def _of_many(results: Results) -> Iterator[Target]:
    """Nothing may be lost with more workers or users; a full store may not make turns dearer."""
    if results.scale or results.fairness:
        lost = sum(entry.lost for entry in (*results.scale, *results.fairness))
        yield Target("turns lost with more workers, and beside a busy user", 0, lost, "")
    if len(results.stored) > 1:
        least, most = results.stored[0], results.stored[-1]
        name = f"CPU per turn with {most.count:,} conversations stored : with few"
        yield Target(name, 1.2, most.cpu / least.cpu, "×")


def _flat(results: Results) -> Iterator[Target]:
    """How much more a turn costs at the end of a long conversation than at its beginning."""
    ours = [entry for entry in results.length if entry.subject == OURS]
    if len(ours) > 1:
        first, last = ours[0], ours[-1]
        for name in ("first", "total", "cpu"):
            what = {"first": "time to first token", "total": "total", "cpu": "CPU"}[name]
            ratio = getattr(last, name) / getattr(first, name)
            yield Target(f"{what} after {last.after:,} turns : on a new thread", 1.2, ratio, "×")


def _for_readers(results: Results) -> Iterator[Target]:
    if (found := results.readers) is None:
        return
    readers = f"{found.levels[0].readers:,} readers"
    for level in found.levels:
        name = f"{readers}, {level.streams} answers at a time"
        yield Target(f"{name}: delivery p99", 1000, level.p99, "ms")
        yield Target(f"{name}: events missed, readers cut off", 0, level.missed + level.cut, "")
    yield Target(f"{readers}: memory of the web process (PSS)", 150, found.connected.pss, "MiB")
    left = found.mute.readers - found.mute.evicted + found.mute.kept
    yield Target("readers that never read and are still held", 0, left, "")


def _at_once(results: Results) -> Iterator[Target]:
    bare = {entry.threads: entry for entry in results.load if entry.subject == BARE}
    for entry in results.load:
        if entry.subject != OURS:
            continue
        name = f"{entry.threads} threads at once"
        yield Target(f"{name}: turns a second", 150, entry.per_second, "", least=True)
        yield Target(f"{name}: p95", 1.5, entry.p95, "s")
        yield Target(f"{name}: lost", 0, entry.lost, "")
        other = bare[entry.threads].per_second if entry.threads in bare else 0
        if other:
            ratio = entry.per_second / other
            yield Target(f"{name}: turns a second : bare app", 1, ratio, "×", least=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned right."""
    rows = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def markdown(results: Results) -> str:
    """Everything that was measured."""
    machine = results.machine
    parts = [
        f"Measured {machine['at']} on {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_gib']} GiB, Python {machine['python']}, load average "
        f"{machine['load_average']} before.",
        *_targets(results),
        *_latency(results),
        *_processes(results),
        *_storage(results),
        *_load(results),
        *_scale(results),
        *_readers(results),
        *_rest(results),
    ]
    return "\n\n".join(parts)


def _targets(results: Results) -> Iterator[str]:
    rows = [goal.row() for goal in targets(results)]
    if rows:
        yield table(("target", "limit", "measured", ""), rows)


def _latency(results: Results) -> Iterator[str]:
    head = (
        "added to the model's own time",
        "after turns",
        "first token p50 / p95",
        f"total of {TOKENS} tokens p50 / p95",
        "CPU per turn",
    )
    rows = [
        [
            entry.subject + (f", {1000 // PAUSE_MS} tokens/s" if entry.pause_ms else ""),
            f"{entry.after:,}",
            f"{entry.first:.1f} / {entry.first_p95:.1f} ms",
            f"{entry.total:.1f} / {entry.total_p95:.1f} ms",
            f"{entry.cpu:.1f} ms",
        ]
        for entry in (*results.latency, *results.length)
    ]
    if rows:
        yield table(head, rows)


def _processes(results: Results) -> Iterator[str]:
    if results.processes:
        rows = [[name, f"{cpu:.2f} ms"] for name, cpu in results.processes.items()]
        yield table(("process of the assistant", "CPU per turn"), rows)


def _storage(results: Results) -> Iterator[str]:
    head = (
        "stored per turn",
        "texts (once each)",
        "keys beyond the texts",
        "Redis used_memory in all",
    )
    rows = [
        [
            f"turns {entry.first + 1:,} to {entry.last:,}",
            f"{entry.texts:.0f} bytes",
            f"{entry.beyond:.0f} bytes",
            f"{entry.server:.0f} bytes",
        ]
        for entry in results.storage
    ]
    if rows:
        yield table(head, rows)


def _load(results: Results) -> Iterator[str]:
    head = ("threads at once", "turns", "turns/s", "p95", "lost", "CPU per turn", "client's CPU")
    rows = [
        [
            f"{entry.subject}, {entry.threads}",
            str(entry.turns),
            f"{entry.per_second:.0f}",
            f"{entry.p95:.2f} s",
            str(entry.lost),
            f"{entry.cpu:.1f} ms",
            f"{entry.client:.1f} ms",
        ]
        for entry in results.load
    ]
    if rows:
        yield table(head, rows)


def _scale(results: Results) -> Iterator[str]:
    head = ("workers", "threads at once", "turns/s", "first token p50 / p95", "p95", "lost")
    rows = [
        [
            str(entry.workers),
            str(entry.threads),
            f"{entry.per_second:.0f}",
            f"{1e3 * entry.first:.0f} / {1e3 * entry.first_p95:.0f} ms",
            f"{entry.p95:.2f} s",
            str(entry.lost),
        ]
        for entry in results.scale
    ]
    if rows:
        yield table(head, rows)
    head = (
        "quiet users beside a busy one with",
        "turns",
        "first token p50 / p95",
        f"total of {TOKENS} tokens p50 / p95",
        "lost",
        "turns/s of the busy one",
    )
    rows = [
        [
            entry.beside,
            str(entry.turns),
            f"{entry.first:.0f} / {entry.first_p95:.0f} ms",
            f"{entry.total:.0f} / {entry.total_p95:.0f} ms",
            str(entry.lost),
            f"{entry.busy_per_second:.1f}",
        ]
        for entry in results.fairness
    ]
    if rows:
        yield table(head, rows)


def _readers(results: Results) -> Iterator[str]:
    if (found := results.readers) is None:
        return
    head = (
        "readers of one web process",
        "answers at a time",
        "events delivered/s",
        "delay p50 / p99 / max",
        "missed",
        "CPU of web",
        "client's CPU",
    )
    rows = [
        [
            f"{level.readers:,}",
            str(level.streams),
            f"{level.per_second:,.0f}",
            f"{level.p50:.0f} / {level.p99:.0f} / {level.worst:.0f} ms",
            str(level.missed),
            f"{level.web_cpu:.0f} %",
            f"{level.client_cpu:.0f} %",
        ]
        for level in found.levels
    ]
    yield table(head, rows)
    states = (("before", found.before), ("connected", found.connected), ("after", found.after))
    held = ", ".join(f"{when} {m.pss:.0f} MiB (RSS {m.rss:.0f})" for when, m in states)
    yield (
        f"Memory of the web process: {held}. Of {found.mute.readers} readers beside them that "
        f"never read {found.mute.evicted} were cut off, the last after {found.mute.seconds:.0f} s; "
        f"{found.mute.kept} of their connections were left."
    )


def _rest(results: Results) -> Iterator[str]:
    if (idle := results.idle) is not None:
        rows = [
            [name, f"{pss:.0f} MiB", f"{cpu:.2f} %"] for name, (pss, cpu) in idle.by_process.items()
        ]
        rows.append(["all", f"{idle.pss:.0f} MiB (RSS {idle.rss:.0f})", f"{idle.cpu:.2f} %"])
        yield table(("idle", "memory (PSS)", "CPU of a core"), rows)
        yield f"Redis runs {idle.commands:.1f} commands a second when idle."
    if results.start:
        starts = ", ".join(f"{s.ready:.2f} ({s.answered:.2f})" for s in results.start)
        yield f"Seconds from `assistant up` until ready (until a first answer): {starts}."
    yield from _stored(results)


def _stored(results: Results) -> Iterator[str]:
    head = (
        "conversations stored",
        "first token p50",
        f"total of {TOKENS} tokens p50",
        "CPU per turn",
        "idle CPU of a core",
        "idle commands/s",
        "Redis used_memory",
    )
    rows = [
        [
            f"{entry.count:,}",
            f"{entry.first:.1f} ms",
            f"{entry.total:.1f} ms",
            f"{entry.cpu:.1f} ms",
            f"{entry.idle_cpu:.2f} %",
            f"{entry.idle_commands:.1f}",
            f"{entry.server:,.0f} MiB",
        ]
        for entry in results.stored
    ]
    if rows:
        yield table(head, rows)


def write_docs(text: str) -> None:
    """Put the figures between the two marks of the page."""
    before, begin, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{DOCS.name} has no {BEGIN}"
    assert end, f"{DOCS.name} has no {END}"
    DOCS.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
