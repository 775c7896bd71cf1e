"""The picture of the graph."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from graph.draw import Edge, places, rows, svg

SPACE = "{http://www.w3.org/2000/svg}"
NODES = ("__start__", "recall", "assistant", "guard", "evaluate", "__end__")
EDGES = (
    Edge("__start__", "recall", conditional=True),
    Edge("__start__", "assistant", conditional=True),
    Edge("recall", "assistant"),
    Edge("assistant", "guard", conditional=True),
    Edge("assistant", "evaluate", conditional=True),
    Edge("guard", "assistant"),
    Edge("evaluate", "assistant", conditional=True),
    Edge("evaluate", "__end__", conditional=True),
)


def test_the_longest_way_decides_the_row_and_circles_do_not_count() -> None:
    assert list(rows(NODES, EDGES).values()) == [0, 1, 2, 3, 3, 4]


def test_no_two_nodes_stand_in_the_same_place() -> None:
    assert len(set(places(NODES, EDGES).values())) == len(NODES)


def test_every_node_and_edge_is_in_the_picture() -> None:
    root = ElementTree.fromstring(svg(NODES, EDGES))  # noqa: S314 - of our own making
    assert [t.text for t in root.iter(f"{SPACE}text")] == [name.strip("_") for name in NODES]
    assert len([p for p in root.iter(f"{SPACE}path") if p.get("class") == "edge"]) == len(EDGES)


def test_it_needs_no_style_and_no_script() -> None:
    assert not re.search(r"style=|<style|<script|href=", svg(NODES, EDGES))


def test_names_cannot_break_out() -> None:
    drawn = svg(("__start__", '<b>"'), (Edge("__start__", '<b>"'),), title='"><script>')
    assert "<b>" not in drawn
    assert "<script>" not in drawn
    ElementTree.fromstring(drawn)  # noqa: S314 - as above
