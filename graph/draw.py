"""A picture of the graph as SVG, made without a browser or a service.

Colours are attributes and follow ``currentColor``, sizes are fixed, and there is neither a style
attribute nor a script: the picture can stand in a page with a strict content security policy, which
may colour it by its classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

START = "__start__"
WIDTH, HEIGHT = 132, 40
GAP_X, GAP_Y = 40, 48
BULGE = 30
"""How far edges that pass other rows swing out beyond all nodes."""

ARROW = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
)


@dataclass(frozen=True, slots=True)
class Edge:
    """One arrow; ``conditional`` ones are taken only sometimes."""

    source: str
    target: str
    conditional: bool = False


Places = dict[str, tuple[float, float]]
"""Centre of each node."""


def picture(drawing: Mapping[str, Any]) -> str:
    """The SVG of what ``graph.build.drawing`` returns."""
    nodes = [str(node["id"]) for node in drawing["nodes"]]
    edges = [Edge(e["source"], e["target"], bool(e["conditional"])) for e in drawing["edges"]]
    return svg(nodes, edges)


def svg(nodes: Sequence[str], edges: Sequence[Edge], *, title: str = "Agent graph") -> str:
    """Nodes in rows from the start downwards; what leads back up is drawn at the side."""
    found = places(nodes, edges)
    half = _reach(found) + BULGE + GAP_X
    bottom = max(y for _, y in found.values()) + HEIGHT
    box = f"{-half:.0f} {-HEIGHT} {2 * half:.0f} {bottom + HEIGHT:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" viewBox="{box}" '
        f'width="{2 * half:.0f}" height="{bottom + HEIGHT:.0f}" aria-label="{escape(title)}">',
        ARROW,
        *(_edge(edge, found) for edge in edges),
        *(_node(name, place) for name, place in found.items()),
        "</svg>",
    ]
    return "".join(parts)


def places(nodes: Sequence[str], edges: Sequence[Edge]) -> Places:
    """Where each node stands: its row by the longest way to it, then side by side."""
    depth = rows(nodes, edges)
    found: Places = {}
    for level in sorted(set(depth.values())):
        row = [node for node in nodes if depth[node] == level]
        left = -(len(row) - 1) * (WIDTH + GAP_X) / 2
        for number, node in enumerate(row):
            found[node] = (left + number * (WIDTH + GAP_X), level * (HEIGHT + GAP_Y))
    return found


def rows(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The row of each node; edges that close a circle do not count."""
    after = {node: [edge.target for edge in edges if edge.source == node] for node in nodes}
    depth = dict.fromkeys(nodes, 0)

    def walk(node: str, path: frozenset[str]) -> None:
        for target in after[node]:
            # A longer way moves the node, and all that follows it, further down.
            if target not in path and depth[target] <= depth[node]:
                depth[target] = depth[node] + 1
                walk(target, path | {target})

    start = START if START in after else nodes[0]
    walk(start, frozenset((start,)))
    return depth


def _reach(found: Places) -> float:
    """How far from the middle the outermost node ends."""
    return max(abs(x) for x, _ in found.values()) + WIDTH / 2


def _edge(edge: Edge, found: Places) -> str:
    dash = ' stroke-dasharray="5 4"' if edge.conditional else ""
    source, target = found[edge.source], found[edge.target]
    near = source[1] < target[1] <= source[1] + HEIGHT + GAP_Y
    way = _down(source, target) if near else _around(source, target, _reach(found))
    return (
        f'<path class="edge" d="{way}" fill="none" stroke="currentColor"{dash} '
        f'marker-end="url(#head)"><title>{escape(edge.source)} → {escape(edge.target)}</title>'
        "</path>"
    )


def _down(source: tuple[float, float], target: tuple[float, float]) -> str:
    """From the bottom of a node to the top of one in the next row."""
    (x1, y1), (x2, y2), bend = source, target, GAP_Y / 2
    top, bottom = y1 + HEIGHT / 2, y2 - HEIGHT / 2
    return (
        f"M{x1:.0f} {top:.0f}C{x1:.0f} {top + bend:.0f} {x2:.0f} {bottom - bend:.0f} "
        f"{x2:.0f} {bottom:.0f}"
    )


def _around(source: tuple[float, float], target: tuple[float, float], reach: float) -> str:
    """From side to side, around everything between: where the nodes stand, else down on the left
    and up on the right."""
    (x1, y1), (x2, y2) = source, target
    side = (1 if y2 < y1 else -1) if x1 + x2 == 0 else (1 if x1 + x2 > 0 else -1)
    start, end = x1 + side * WIDTH / 2, x2 + side * WIDTH / 2
    # The curve comes three quarters of the way to its control points.
    out = (side * (reach + BULGE) * 8 - start - end) / 6
    return f"M{start:.0f} {y1:.0f}C{out:.0f} {y1:.0f} {out:.0f} {y2:.0f} {end:.0f} {y2:.0f}"


def _node(name: str, place: tuple[float, float]) -> str:
    x, y = place
    kind = "node end" if name.startswith("__") else "node"
    return (
        f'<g class="{kind}"><rect x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" rx="10" '
        f'width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="currentColor"/>'
        f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" font-family="sans-serif" '
        f'font-size="14" fill="currentColor">{escape(name.strip("_"))}</text></g>'
    )
