"""Whatever the graph, what is folded is what it says, and folding takes no time."""

from __future__ import annotations

import copy
import time
from collections import Counter
from typing import Any

import pytest
from graph_rows import Net, named
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.inspection.folding import fold, members


@st.composite
def graphs(draw: st.DrawFn) -> Net:
    """Blocks of rows, repeated in a row or side by side, with a wire or a size changed here and there."""
    net = Net()
    numbers = draw(st.randoms(use_true_random=False))
    ends = [0]
    for _ in range(numbers.randint(1, 4)):
        template = [(numbers.choice("AB"), [numbers.randint(1, 3) for _ in range(numbers.randint(1, 2))])
                    for _ in range(numbers.randint(1, 4))]  # fmt: skip
        kind = numbers.choice(("row", "fork", "both"))
        for _ in range(numbers.randint(1, 3) if kind == "both" else 1):
            begin, sides = ends[-1], []
            for _ in range(numbers.randint(1, 5)):
                made = [begin if kind != "row" else ends[-1]]
                for cls, backs in template:
                    takes = [made[max(0, len(made) - back)] for back in backs]
                    if numbers.random() < 0.03:
                        takes[0] = numbers.randrange(len(net.rows))
                    odd = {"size": 5} if numbers.random() < 0.03 else {}
                    made.append(net(cls, *takes, **odd))
                sides.append(made[-1])
                ends.append(made[-1])
            if kind != "row":
                ends.append(net("Join", *sides))
    return net


@given(graphs(), st.sampled_from([1000, 8, 0]))
@settings(max_examples=150, deadline=None)
def test_any_graph_is_folded_into_what_it_is(net, limit):
    items = net.fold(limit)
    assert items == fold(copy.deepcopy(net.rows), limit)
    totals = Counter(net.rows[place].num_params for item in items for place in members(item))
    assert totals == Counter(one.num_params for one in net.rows)


@given(st.lists(st.tuples(st.sampled_from("AB"), st.lists(st.integers(1, 4), min_size=1, max_size=3)), max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_wiring_is_folded_into_what_it_is(spec):
    net = Net()
    for place, (cls, backs) in enumerate(spec, 1):
        net(cls, *[max(0, place - back) for back in backs])
    net.fold()
    net.fold(0)


def growing(count: int) -> Net:
    net = Net()
    made = [0]
    for _ in range(count):
        made.append(net("Conv", net("Norm", net("Concatenate", *made, size=len(made)))))
    return net


def chain_of(count: int, cls: Any = lambda i: "Dense", size: Any = lambda i: 4) -> Net:
    net = Net()
    for i in range(count):
        net(cls(i), i, size=size(i))
    return net


@pytest.mark.parametrize(
    "make, count",
    [
        (lambda: chain_of(5000), 2),
        (lambda: chain_of(3000, lambda i: f"Layer{i}"), 3001),
        (lambda: chain_of(3000, lambda i: "Dense", lambda i: i), 2),
        (lambda: growing(100), 301),
    ],
    ids=["equal", "all different", "growing", "all before"],
)
def test_large_graphs_are_folded_at_once(make, count):
    rows = named(make().rows)
    start = time.process_time()
    assert len(fold(rows)) == count
    assert time.process_time() - start < 5  # a tenth of it on a quiet machine
