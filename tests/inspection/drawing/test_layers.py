"""Layers and orders of graphs without circles."""

from __future__ import annotations

import random

import pytest

from lamina.inspection.drawing import layers
from lamina.inspection.drawing.layers import back_edges, components


def check(count, edges, top=frozenset(), bottom=frozenset()):
    """Each vertex is in one layer, each edge runs downwards over all layers between."""
    found = components(count, edges, set(top), set(bottom))
    layer_of = {v: at for part in found for at, layer in enumerate(part.layers) for v in layer}
    real = sorted(v for part in found for layer in part.layers for v in layer if v < count)
    assert real == list(range(count))
    seen = set()
    for part in found:
        for index, bends in part.bends.items():
            upper, lower = edges[index]
            way = [layer_of[v] for v in (upper, *bends, lower)]
            assert way == list(range(way[0], way[-1] + 1))
            assert seen.isdisjoint(bends) and min(bends, default=count) >= count
            seen.update(bends)
    assert sorted(index for part in found for index in part.bends) == list(range(len(edges)))
    return found


def test_a_residual_block_has_a_bend_for_each_layer_that_it_skips():
    (part,) = check(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    assert part.layers == [[0], [1, 4], [2, 5], [3]] and part.bends == {0: [], 1: [], 2: [], 3: [4, 5]}


def test_an_input_stands_right_above_its_first_reader():
    (part,) = check(4, [(0, 1), (1, 2), (3, 2)])
    assert [sorted(layer) for layer in part.layers] == [[0], [1, 3], [2]]


def test_parts_that_are_not_connected_are_apart_and_single_ones_in_a_block():
    found = check(9, [(0, 1), (3, 4)])
    assert [part.layers for part in found] == [[[0], [1]], [[3], [4]], [[2, 5, 6], [7, 8]]]


def test_ports_have_the_first_and_last_layer_to_themselves():
    (part,) = check(6, [(4, 0), (4, 2), (0, 1), (1, 2), (0, 5), (3, 2)], top={4}, bottom={5})
    assert part.layers[0] == [4] and part.layers[-1] == [5] and len(part.layers) == 5


def test_branches_that_need_not_cross_do_not():
    edges = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (3, 6), (4, 7), (5, 7), (6, 7)]
    (part,) = check(8, edges)
    assert part.layers == [[0], [1, 2, 3], [4, 5, 6], [7]]
    crossed = [(0, 1), (0, 2), (0, 3), (1, 6), (2, 5), (3, 4), (4, 7), (5, 7), (6, 7)]
    (part,) = check(8, crossed)
    order = {v: at for layer in part.layers for at, v in enumerate(layer)}
    pairs = [(order[a], order[b]) for a, b in crossed[3:6]]
    assert sorted(pairs) == [(0, 0), (1, 1), (2, 2)]


def test_the_order_is_that_of_the_reader():
    """Whichever branch is longest: the order in which the last one reads them is the order on the paper."""
    edges = [(0, 1), (0, 2), (2, 3), (0, 4), (4, 5), (5, 6), (3, 7), (1, 7), (6, 7)]
    (part,) = check(8, edges)
    assert part.layers[1][:3] == [2, 1, 4] or [v for v in part.layers[1] if v < 8] == [2, 1, 4]


def crossings(part, edges):
    place = {v: (at, i) for at, layer in enumerate(part.layers) for i, v in enumerate(layer)}
    ways = [[edges[index][0], *bends, edges[index][1]] for index, bends in part.bends.items()]
    steps = [(place[a], place[b]) for way in ways for a, b in zip(way, way[1:], strict=False)]
    return sum(
        one[0][0] == other[0][0] and (one[0][1] - other[0][1]) * (one[1][1] - other[1][1]) < 0
        for at, one in enumerate(steps)
        for other in steps[:at]
    )


def test_more_rounds_find_an_order_with_fewer_crossings(monkeypatch):
    counts = {}
    for rounds in (1, 6):
        monkeypatch.setattr(layers, "_ROUNDS", rounds)
        counts[rounds] = 0
        for seed in range(8):
            rng = random.Random(seed)
            edges = {tuple(sorted(rng.sample(range(16), 2))) for _ in range(26)}
            edges = sorted(edges)
            counts[rounds] += sum(crossings(part, edges) for part in check(16, edges))
    assert counts[6] < 0.95 * counts[1]


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ([(0, 1), (1, 2)], set()),
        ([(0, 1), (1, 0)], {1}),
        ([(0, 1), (1, 2), (2, 1), (2, 3), (3, 0)], {2, 4}),
        ([(1, 0), (0, 1)], {0}),
    ],
)
def test_back_edges_leave_no_circle(edges, found):
    assert back_edges(4, edges) == found
    left = [(b, a) if at in found else (a, b) for at, (a, b) in enumerate(edges)]
    assert back_edges(4, left) == set()


def test_a_way_of_100000_vertices_is_no_recursion():
    count = 100_000
    edges = [(at, at + 1) for at in range(count - 1)]
    assert back_edges(count, [*edges, (count - 1, 0)]) == {count - 1}
