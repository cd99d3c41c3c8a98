"""Draws a graph that a page holds as mermaid text (`a --> b`) as a picture, so that the site needs no script for it.

Belongs here: layers, places and lines of a graph. Does not belong here: which graph.
"""

import html
from collections import defaultdict

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WIDE, HIGH, GAP_X, GAP_Y = 150, 22, 46, 8


def edges_of(lines: list[str]) -> list[tuple[str, str]]:
    """The pairs of `a --> b`."""
    halves = [line.strip().split(" --> ") for line in lines if " --> " in line]
    return [(first, second) for first, second in halves]


def layers_of(edges: list[tuple[str, str]]) -> dict[str, int]:
    """Node -> length of the longest path to it; what nothing leads to stands right before its first reader."""
    parents: dict[str, list[str]] = defaultdict(list)
    for parent, child in edges:
        parents[child].append(parent)
    layers: dict[str, int] = {}

    def layer(node: str) -> int:
        if node not in layers:
            layers[node] = 1 + max((layer(p) for p in parents[node]), default=-1)
        return layers[node]

    for node in dict.fromkeys(n for edge in edges for n in edge):
        layer(node)
    for node in [n for n in layers if not parents[n]]:
        layers[node] = min(layers[c] for p, c in edges if p == node) - 1
    return layers


def places_of(edges: list[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Node -> layer and row; in a layer by the mean row of what a node reads."""
    layers, columns = layers_of(edges), defaultdict(list)
    for node, layer in layers.items():
        columns[layer].append(node)
    rows: dict[str, float] = {}
    places = {}
    for layer in sorted(columns):
        read = {n: [rows[p] for p, c in edges if c == n and p in rows] for n in columns[layer]}
        ordered = sorted(columns[layer], key=lambda n: sum(read[n]) / len(read[n]) if read[n] else 0)
        for row, node in enumerate(ordered):
            rows[node] = row - len(ordered) / 2
            places[node] = (layer, row)
    return places


def svg(lines: list[str], label: str) -> str:
    """The graph from left to right."""
    edges = edges_of(lines)
    files = {n for line in lines if line.strip().startswith("class ") for n in line.split()[1].split(",")}
    places = places_of(edges)
    first = min(layer for layer, _ in places.values())
    tallest = max(row for _, row in places.values()) + 1
    heights = {k: sum(layer == k for layer, _ in places.values()) for k, _ in places.values()}

    def corner(node: str) -> tuple[float, float]:
        layer, row = places[node]
        top = (tallest - heights[layer]) / 2
        return (layer - first) * (WIDE + GAP_X), (row + top) * (HIGH + GAP_Y)

    parts = []
    for parent, child in edges:
        (x0, y0), (x1, y1) = corner(parent), corner(child)
        x0, y0, y1 = x0 + WIDE, y0 + HIGH / 2, y1 + HIGH / 2
        middle = (x0 + x1) / 2
        parts.append(f'<path d="M{x0:.0f} {y0:.0f}C{middle:.0f} {y0:.0f} {middle:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"/>')
    for node in places:
        x, y = corner(node)
        kind = ' class="file"' if node in files else ""
        text = f'<text x="{x + WIDE / 2:.0f}" y="{y + HIGH / 2 + 4:.0f}">{html.escape(node)}</text>'
        parts.append(f'<rect{kind} x="{x:.0f}" y="{y:.0f}" width="{WIDE}" height="{HIGH}" rx="4"/>{text}')
    width = max(corner(n)[0] for n in places) + WIDE
    height = tallest * (HIGH + GAP_Y)
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="-1 -1 {width + 2:.0f} {height + 2:.0f}"'
    drawn = f'<svg role="img" aria-label="{html.escape(label)}" {size}>{"".join(parts)}</svg>'
    return f'<div class="graph" tabindex="0" role="region" aria-label="{html.escape(label)}">{drawn}</div>'


class Mermaid(SphinxDirective):
    """The picture in the place of its text."""

    has_content = True
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        """Draw it; other builders show the text."""
        text = "\n".join(self.content)
        return [nodes.raw("", svg(list(self.content), "graph of the assets"), format="html", rawtext=text)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
