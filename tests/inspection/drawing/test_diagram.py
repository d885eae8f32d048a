"""From rows to nodes and links: nested models, groups, what is closed."""

from __future__ import annotations

import pytest
from networks_to_draw import circle, fold_branches, nested, random_diagram, resnext, subclass

from lamina.inspection import Link, Report, Row, measure
from lamina.inspection.drawing.boxes import Shown
from lamina.inspection.drawing.diagram import draw_up
from lamina.inspection.folding import Group
from lamina.layers import Dense, Input
from lamina.models import Model


def drawn(model, items=None, expand_nested=True):
    report = measure(model, expand_nested=expand_nested)
    return draw_up(report, items(report.rows) if items else list(range(len(report.rows))), Shown(names=True))


def words(diagram):
    """For each node its name, or a group's title."""
    found = []
    for node in diagram.nodes:
        texts = [text.text for text in node.box.texts]
        found.append(node.title.text if node.count else texts[1])
    return found


def links(diagram):
    found = words(diagram)
    return {(found[source], found[target]) for source, target in diagram.links}


def test_links_of_nested_models_end_at_the_layers_inside():
    diagram = drawn(nested())
    assert links(diagram) == {
        ("x", "in2"), ("x", "side"), ("in2", "in"), ("in", "d"), ("d", "d2"), ("in", "d3"), ("d3", "up"),
        ("d2", "plus"), ("up", "plus"), ("in2", "plus"), ("plus", "in2"), ("plus", "sum"), ("side", "sum"),
        ("sum", "t1"), ("t1", "t2"), ("plus", "aux"),
    }  # fmt: skip
    holders = {word: [words(diagram)[h] for h in diagram.holders(at)[1:]] for at, word in enumerate(words(diagram))}
    assert holders["d"] == ["inner", "deep"] and holders["plus"] == ["deep"] and holders["t2"] == ["tail"]
    assert holders["x"] == []


def test_a_model_called_twice_is_entered_twice():
    i = Input((4,), name="in")
    inner = Model(i, Dense(4, name="d")(i), name="inner")
    x = Input((4,), name="x")
    model = Model(x, Dense(2, name="out")(inner(Dense(4, name="between")(inner(x)))))
    wanted = {("x", "in"), ("in", "d"), ("d", "between"), ("between", "in"), ("d", "out")}
    assert links(drawn(model)) == wanted
    twice = Model(x, inner(inner(x)))
    assert links(drawn(twice)) == {("x", "in"), ("in", "d"), ("d", "in")}


def test_a_layer_that_takes_its_own_output_is_linked_to_itself():
    diagram = drawn(circle())
    assert links(diagram) == {("x", "a"), ("a", "b"), ("b", "a"), ("a", "a"), ("a", "out")}


def test_groups_hold_their_copies_and_take_their_links():
    diagram = drawn(resnext(), fold_branches)
    groups = [node for node in diagram.nodes if node.count]
    assert [(node.count, len(node.members)) for node in groups] == [(32, 64), (32, 64)]
    closed = diagram.closed(groups=True, models=True)
    title = "32 × (Lambda → Conv2D)"
    assert words(closed) == ["x", title, "b0_cat", "b0_sum", title, "b1_cat", "b1_sum"]
    assert closed.links == [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5), (5, 6), (3, 6)]
    assert [text.text for text in closed.nodes[1].box.texts] == [title, "320 parameters"]
    assert closed.nodes[1].box.stacked and closed.nodes[1].box.kind == "convolution"


def test_groups_in_groups_and_groups_of_models():
    """Three equal models of two equal layers each."""
    rows = [Row("x", "InputLayer")]
    items: list = [0]
    copies = []
    for n in range(3):
        at = len(rows)
        rows.append(Row(f"m{n}", "Sequential", num_params=2, results=[Link("b", at + 2)], links=[Link("x", 0)]))
        rows.append(Row(f"a{n}", "Dense", parent=at, depth=1, num_params=1, links=[Link("x", 0)]))
        rows.append(Row(f"b{n}", "Dense", parent=at, depth=1, num_params=1, links=[Link("a", at + 1)]))
        copies.append([at, Group("run", 2, [[at + 1], [at + 2]], "2 × Dense")])
    items.append(Group("parallel", 3, copies, "3 × Sequential"))
    diagram = draw_up(Report("m", "Model", rows, 6, 6, 24), items, Shown(names=True))
    found = words(diagram)
    assert found == ["x", "3 × Sequential"] + ["m0", "2 × Dense", "a0", "b0"] + [
        "m1", "2 × Dense", "a1", "b1", "m2", "2 × Dense", "a2", "b2"
    ]  # fmt: skip
    assert [found[h] for h in diagram.holders(4)] == ["a0", "2 × Dense", "m0", "3 × Sequential"]
    assert (0, 4) in diagram.links and (4, 5) in diagram.links
    assert words(diagram.closed(groups=False, models=True)) == ["x", "3 × Sequential", "m0", "m1", "m2"]
    assert words(diagram.closed(groups=True, models=False)) == ["x", "3 × Sequential"]
    assert diagram.closed(groups=True, models=False).links == [(0, 1)]
    assert [text.text for text in diagram.nodes[1].box.texts] == ["3 × Sequential", "6 parameters"]
    assert diagram.closed(groups=False, models=False).links == diagram.links


def test_rows_that_the_items_forget_are_there_all_the_same():
    report = measure(nested(), expand_nested=True)
    outer = [place for place, row in enumerate(report.rows) if row.parent is None]
    diagram = draw_up(report, outer, Shown())
    assert len(diagram.nodes) == len(report.rows)
    assert {node.row for node in diagram.nodes if node.parent is None} == set(outer)


def test_rows_inside_may_come_before_the_row_around_them():
    """As in a report of torch's kind, whose rows are calls in the order in which they end."""
    rows = [
        Row("a", "Linear", parent=2, depth=1),
        Row("b", "ReLU", parent=2, depth=1, links=[Link("a", 0)]),
        Row("block", "Sequential"),
        Row("head", "Linear", links=[Link("b", 1)]),
    ]
    diagram = draw_up(Report("m", "Net", rows, 0, 0, 0, style="torch"), [0, 1, 2, 3], Shown(names=True))
    assert words(diagram) == ["block", "a", "b", "head"] and diagram.nodes[0].members == [1, 2]
    assert links(diagram) == {("a", "b"), ("b", "head")}


def test_a_class_of_the_users_has_links_between_its_layers_and_in_graphs_inside():
    diagram = drawn(subclass())
    parts = [f"part{i}" for i in range(7)]
    assert (
        links(diagram) >= {("x", "y"), *zip(parts, parts[1:], strict=False)}
        and "subclass" in words(diagram)
        and "unused" in words(diagram)
    )
    assert [words(diagram)[m] for node in diagram.nodes for m in node.members] == ["x", "y"]


@pytest.mark.parametrize("seed", range(30))
def test_closing_models_moves_links_to_what_is_seen(seed):
    diagram = random_diagram(f"closed{seed}")
    closed = diagram.closed(groups=True, models=True)
    tops = [node.index for node in diagram.nodes if node.parent is None]
    assert [node.row for node in closed.nodes] == tops and not any(node.members for node in closed.nodes)
    seen = {node.index: tops.index(diagram.holders(node.index)[-1]) for node in diagram.nodes}
    wanted = {(seen[a], seen[b]) for a, b in diagram.links if seen[a] != seen[b] or (a == b and a in tops)}
    assert set(closed.links) == wanted and len(closed.links) == len(wanted)
