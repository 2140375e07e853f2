"""Trees and graphs."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

import numpy as np

from vizkit.draw.canvas import TALLEST, Canvas, Look, placed
from vizkit.draw.frame import Pictures, finish, nothing, number, side, start
from vizkit.draw.lettering import fit, measure
from vizkit.draw.maps import pixels_of
from vizkit.views import Graph, Tree, TreeNode

_TILE = 64


def tree(view: Tree, look: Look, picture: Pictures) -> Canvas:
    """The root on the left, children to the right of their parents; a line is as wide as its weight. A plus can grow."""
    if not view.nodes:
        return nothing(view.title, look, "The tree has no nodes yet.", view.note)
    nodes = {n.id: n for n in view.nodes}
    children, roots = branches(view)
    row = _TILE + 12 if any(n.image is not None for n in view.nodes) else 40
    order = _walk(roots, children)
    leaves = [n for n, _ in order if not children[n]]
    most = max(1, int((TALLEST - 200) // row))
    kept, left_out = set(leaves[:most]), max(0, len(leaves) - most)
    depth = 1 + max(d for _, d in order)
    room = min(190.0, max(measure(_name(n), 12) for n in view.nodes) + 14)
    step = _TILE + room + 44
    needed = round(2 * side(look) + depth * step - 44)
    if needed > 1.35 * look.width:  # a wider page first, then shorter labels
        room = max(90.0, room - (needed - 1.35 * look.width) / depth)
        step = _TILE + room + 44
    canvas, y = start(view.title, look, max(look.width, round(2 * side(look) + depth * step - 44)))
    place: dict[str, tuple[float, float]] = {}
    for i, leaf in enumerate(leaves[:most]):
        place[leaf] = (0, y + row * (i + 0.5))
    for node, _ in reversed(order):  # a parent stands in the middle of its children
        if children[node]:
            below = [place[c][1] for c in children[node] if c in place]
            if below:
                place[node] = (0, (below[0] + below[-1]) / 2)
    for node, level in order:
        if node in place:
            place[node] = (side(look) + level * step, place[node][1])
    weights = [abs(n.weight) for n in view.nodes if n.weight is not None and math.isfinite(n.weight)]
    heaviest = max(weights, default=0) or 1
    for node, _ in order:
        if node not in place:
            continue
        x, mid = place[node]
        for child in children[node]:
            if child in place:
                end_x, end_y = place[child]
                weight = nodes[child].weight
                thick = 1.5 if weight is None or not math.isfinite(weight) else 1 + 5 * abs(weight) / heaviest
                begin = x + _TILE + min(room, measure(fit(_name(nodes[node]), room - 14, 12), 12) + 14)
                bend = [(begin, mid), ((begin + end_x) / 2, mid), ((begin + end_x) / 2, end_y), (end_x - 4, end_y)]
                colour = look.series[1] if weight is not None and weight < 0 else look.accent
                canvas.path(bend, colour, thick, alpha=0.55, curve=True)
        _node(canvas, nodes[node], x, mid, room, picture)
    y += row * max(1, len(kept))
    if left_out:
        y = canvas.paragraph(
            side(look), y + 8, f"{left_out:,} more leaves are not drawn.", look.width - 2 * side(look), 12, look.soft
        )
    if any(n.children and not children[n.id] for n in view.nodes):
        _plus(canvas, side(look) + 8, y + 14)
        canvas.text(side(look) + 24, y + 14, "can be expanded", 12, look.soft, middle=True)
        y += 26
    return finish(canvas, y, view.note)


def _node(canvas: Canvas, node: TreeNode, x: float, mid: float, room: float, picture: Pictures) -> None:
    look = canvas.look
    if node.image is not None:
        pixels, w, h = placed(pixels_of(node.image, picture), _TILE, _TILE)
        canvas.picture(round(x + (_TILE - w) / 2), round(mid - h / 2), w, h, pixels)
    else:
        canvas.rect(x + _TILE - 14, mid - 5, 10, 10, look.accent, radius=5)
    weight = "" if node.weight is None else number(node.weight)
    lift = 8 if weight else 0
    canvas.text(x + _TILE + 8, mid - lift, fit(_name(node), room - 14, 12), 12, middle=True)
    if weight:
        canvas.text(x + _TILE + 8, mid + 9, weight, 11, look.soft, middle=True)
    if node.children:
        _plus(canvas, x + _TILE - 2, mid + (_TILE / 2 - 6 if node.image is not None else -12))


def _plus(canvas: Canvas, x: float, y: float) -> None:
    canvas.dots(np.array([[x, y]]), canvas.look.paper, 18, over=4)
    canvas.dots(np.array([[x, y]]), canvas.look.accent, 15, over=4)
    canvas.path([(x - 4, y), (x + 4, y)], canvas.look.paper, 2, over=5)
    canvas.path([(x, y - 4), (x, y + 4)], canvas.look.paper, 2, over=5)


def branches(view: Tree) -> tuple[defaultdict[str, list[str]], list[str]]:
    """Who stands below whom, and the roots. A node whose parent lacks is a root; of a ring the first one is."""
    ids = [n.id for n in view.nodes]
    known = set(ids)
    children: defaultdict[str, list[str]] = defaultdict(list)
    roots: list[str] = []
    above: dict[str, str] = {}
    for node in dict.fromkeys(view.nodes):
        parent, at = node.parent, node.parent
        while at is not None and at != node.id:
            at = above.get(at)
        if parent is None or parent not in known or at == node.id or node.id in above:
            if node.id not in above and node.id not in roots:
                roots.append(node.id)
        else:
            above[node.id] = parent
            children[parent].append(node.id)
    return children, roots


def _walk(roots: list[str], children: defaultdict[str, list[str]]) -> list[tuple[str, int]]:
    out: list[tuple[str, int]] = []
    todo = [(r, 0) for r in reversed(roots)]
    while todo:
        node, level = todo.pop()
        out.append((node, level))
        todo += [(c, level + 1) for c in reversed(children[node])]
    return out


def _name(node: TreeNode) -> str:
    return node.label or node.id


def graph(view: Graph, look: Look) -> Canvas:
    """Nodes as named boxes at their places, arrows between them, as wide as their weights."""
    if not view.nodes:
        return nothing(view.title, look, "The graph has no nodes.", view.note)
    rows, columns = sorted({n.row for n in view.nodes}), sorted({n.column for n in view.nodes})
    labels = {n.id: n.label or n.id for n in view.nodes}
    wide = min(180.0, max(measure(t, 12) for t in labels.values()) + 24)
    gap_x = min((b - a for a, b in pairwise(columns)), default=1)
    gap_y = min((b - a for a, b in pairwise(rows)), default=1)
    across = (columns[-1] - columns[0]) / gap_x
    inner = look.width - 2 * side(look)
    step = max(wide + 28, min(220.0, (inner - wide) / across if across else 0))
    if across and wide + across * step > inner:  # cut long labels before the page grows
        wide = max(84.0, (inner - 28 * across) / (across + 1))
        step = wide + 28
    canvas, y = start(view.title, look, max(look.width, round(2 * side(look) + wide + across * step)))
    down = 76.0 if (rows[-1] - rows[0]) / gap_y * 76 < TALLEST else TALLEST / ((rows[-1] - rows[0]) / gap_y)
    left = (canvas.width - across * step) / 2
    place = {
        n.id: (left + (n.column - columns[0]) / gap_x * step, y + 16 + (n.row - rows[0]) / gap_y * down) for n in view.nodes
    }
    heaviest = max((abs(e.weight) for e in view.edges if math.isfinite(e.weight)), default=0) or 1
    for edge in view.edges:
        if edge.source in place and edge.target in place and edge.source != edge.target:
            thick = 1 + 4 * abs(edge.weight) / heaviest if math.isfinite(edge.weight) else 1
            _arrow(canvas, place[edge.source], place[edge.target], wide, thick, edge.weight < 0)
    for node, (x, mid) in place.items():
        canvas.rect(x - wide / 2, mid - 15, wide, 30, look.paper, edge=look.soft, line=1.25, radius=7)
        canvas.text(x, mid, fit(labels[node], wide - 16, 12), 12, anchor="center", middle=True)
    return finish(canvas, max(mid for _, mid in place.values()) + 16, view.note)


def _arrow(
    canvas: Canvas, a: tuple[float, float], b: tuple[float, float], wide: float, thick: float, negative: bool
) -> None:
    look = canvas.look
    colour = look.series[1] if negative else look.accent
    head = 5 + thick
    if abs(a[1] - b[1]) < 31:  # beside each other
        way = 1 if b[0] > a[0] else -1
        begin, end = (a[0] + way * wide / 2, a[1]), (b[0] - way * (wide / 2 + head + 1), b[1])
        bend = [begin, ((begin[0] + end[0]) / 2, begin[1]), ((begin[0] + end[0]) / 2, end[1]), end]
        tip = [(end[0], end[1] - head * 0.6), (end[0] + way * head, end[1]), (end[0], end[1] + head * 0.6)]
    else:
        way = 1 if b[1] > a[1] else -1
        begin, end = (a[0], a[1] + way * 15), (b[0], b[1] - way * (16 + head))
        pull = (end[1] - begin[1]) / 2
        bend = [begin, (begin[0], begin[1] + pull), (end[0], end[1] - pull), end]
        tip = [(end[0] - head * 0.6, end[1]), (end[0], end[1] + way * head), (end[0] + head * 0.6, end[1])]
    canvas.path(bend, colour, thick, alpha=0.7, curve=True, over=1)
    canvas.path(tip, colour, fill=True, alpha=0.9, over=1)
