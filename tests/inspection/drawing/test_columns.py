"""Columns: the least-squares step beside SciPy's, and what comes of it."""

from __future__ import annotations

import numpy as np
import pytest

from lamina.inspection.drawing import columns as module
from lamina.inspection.drawing.columns import Plan, columns, runs_of


def plan(layers, ties, width=10.0, **others):
    widths = {vertex: width for layer in layers for vertex in layer}
    return Plan(layers, widths, set(), [(*tie, 0.0, 0.0) for tie in ties], (6.0, 4.0, 2.0), **others)


@pytest.mark.parametrize("seed", range(10))
def test_a_layer_is_solved_exactly(seed):
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 9))
    layer = list(range(count))
    made = Plan([layer], dict(enumerate(rng.uniform(5, 30, count))), {0}, [], (6.0, 4.0, 2.0))
    wishes = list(zip(rng.normal(0, 30, count), rng.uniform(0.1, 3, count), strict=True))
    middles: dict[int, float] = {}
    module._settle(made, layer, wishes, middles)
    wish, weight = np.array(wishes).T
    apart = np.array([made.apart(i, i + 1) for i in range(count - 1)])

    # The order is kept by writing each place as the first one and steps of at least the distance.
    def places(z):
        return z[0] + np.concatenate([[0], np.cumsum(apart + z[1:])])

    begin = np.concatenate([[0.0], np.zeros(count - 1)])
    basis = np.stack([places(begin + row) - places(begin) for row in np.eye(count)], axis=1)
    root = np.sqrt(weight)
    bounds = (np.array([-np.inf, *[0.0] * (count - 1)]), np.full(count, np.inf))
    best = optimize.lsq_linear(root[:, None] * basis, root * (wish - places(begin)), bounds=bounds, tol=1e-12)
    assert [middles[v] for v in layer] == pytest.approx(list(places(best.x)), abs=1e-4)


@pytest.mark.parametrize("seed", range(40))
def test_neighbours_keep_their_distance_whatever_pulls_them(seed):
    rng = np.random.default_rng(seed)
    layers = [list(range(6 * at, 6 * at + 6)) for at in range(6)]
    pairs = list(zip(layers, layers[1:], strict=False))
    ties = {(int(rng.choice(a)), int(rng.choice(b))) for a, b in pairs for _ in range(rng.integers(3, 9))}
    made = plan(layers, [(*tie, bool(rng.random() < 0.7)) for tie in sorted(ties)])
    for vertex in made.widths:
        made.widths[vertex] = float(rng.uniform(5, 90))
    found = columns(made)
    for layer in layers:
        for left, right in zip(layer, layer[1:], strict=False):
            assert found[right] - found[left] >= made.apart(left, right) - 1e-6


def test_what_is_thin_needs_less_room():
    made = Plan([[0, 1, 2, 3]], dict.fromkeys(range(4), 0.0), {1, 2}, [], (6.0, 4.0, 2.0))
    found = columns(made)
    assert np.diff([found[v] for v in range(4)]) == pytest.approx([4, 2, 4])


def test_an_edge_that_skips_gives_way():
    """0 → 1 → 2 and a skip by the bend 3 beside 1."""
    found = columns(plan([[0], [1, 3], [2]], [(0, 1, True), (1, 2, True), (0, 3, False), (3, 2, False)]))
    assert found[0] == pytest.approx(found[1], abs=1e-6) == pytest.approx(found[2], abs=1e-6)
    assert found[3] - found[1] == pytest.approx(16)


def test_a_run_is_as_wide_as_its_widest_but_frames_are_not():
    made = Plan(
        [[0], [1], [2]], {0: 10.0, 1: 50.0, 2: 90.0}, set(), [(0, 1, True, 0, 0), (1, 2, True, 0, 0)], (6, 4, 2), {2}
    )
    assert made.widths == {0: 50.0, 1: 50.0, 2: 90.0}


def test_runs_end_where_ways_part_or_meet():
    layers = [[0], [1], [2, 3], [4, 5], [6], [7]]
    ties = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (6, 7)]
    found = runs_of(layers, [(*tie, True) for tie in ties])
    assert found == [(True, [0, 1]), (True, [2, 4]), (True, [3, 5]), (True, [6, 7])]


def test_a_chain_of_weak_bends_is_a_run_of_its_own():
    """0 → 1 → 2 → 3 → 4, and a skip by the bends 5, 6, 7."""
    layers = [[0], [1, 5], [2, 6], [3, 7], [4]]
    ties = [(0, 1, True), (1, 2, True), (2, 3, True), (3, 4, True)]
    ties += [(0, 5, False), (5, 6, False), (6, 7, False), (7, 4, False)]
    assert runs_of(layers, ties) == [(True, [0, 1, 2, 3, 4]), (False, [5, 6, 7])]
    made = plan(layers, ties)
    made.widths[2] = 100.0
    found = columns(made)
    assert found[5] == found[6] == found[7] == pytest.approx(found[2] + made.apart(2, 6))
