"""Which lines a table has: ranges, failures, folded rows, and whether connections need a column."""

from __future__ import annotations

import pytest

from lamina.errors import ArgumentError, UnknownNameError
from lamina.inspection import Failure, Link, Report, Row, measure, report_text
from lamina.inspection.folding import Group
from lamina.inspection.listing import FOLD_ABOVE, list_lines
from lamina.layers import Dense, Input, add
from lamina.models import Model, Sequential


def chained(count, **changes):
    """A report of `count` rows, each taking what the one before it gives."""
    rows = [
        Row(f"r{place}", "Dense", call_shapes=[(None, place)], num_params=1, flops=10, activation_bytes=100,
            links=[Link(f"r{place - 1}", place - 1)] if place else [])
        for place in range(count)
    ]  # fmt: skip
    return Report("m", "Functional", rows, count, count, 4 * count, **changes)


def labels(listing):
    return [line.label for line in listing.lines]


# ---------------------------------------------------------------------- folding
@pytest.fixture
def folded(monkeypatch):
    """Makes `fold` give these items, and counts how often it is asked."""

    def use(items):
        asked = []
        monkeypatch.setattr("lamina.inspection.listing.fold", lambda rows: asked.append(len(rows)) or items)
        return asked

    return use


BLOCKS = [0, Group("block", 2, [[1, 2], [Group("run", 2, [[3], [4]], "2 x Dense")]], "(Dense -> Dense) x 2"), 5]


def test_a_group_is_one_line_with_the_sums_of_its_rows(folded):
    folded(BLOCKS)
    report = chained(6)
    report.rows[1].links.append(Link("elsewhere", 5))
    report.rows[3].links += [Link("r0", 0), Link("r0", 0), Link("r1", 1)]
    report.rows[2].trainable = False
    listing = list_lines(report, fold_rows=True)
    assert labels(listing) == ["r0", "(Dense -> Dense) x 2", "r5"] and listing.folded == 3
    group = listing.lines[1]
    assert group.layer == "(Dense -> Dense) x 2" and group.shapes == ["(None, 4)"]
    assert (group.num_params, group.flops, group.activation_bytes, group.trained) == (4, 40, 400, "partly")
    assert group.sources == ["r0", "elsewhere"]


def test_rows_in_rows_of_a_group_are_counted_once_but_in_torchs_style_each_has_its_own(folded):
    folded([Group("run", 1, [[0, 1]], "both")])
    report = chained(2)
    report.rows[1].parent, report.rows[1].depth = 0, 1
    assert list_lines(report, fold_rows=True).lines[0].num_params == 1
    report.style = "torch"
    assert list_lines(report, fold_rows=True).lines[0].num_params == 2


def test_folding_is_for_long_tables_unless_the_caller_says_otherwise(folded):
    short, long = chained(FOLD_ABOVE), chained(FOLD_ABOVE + 1)
    asked = folded([Group("run", 2, [[0], [1]], "two"), *range(2, FOLD_ABOVE)])
    assert list_lines(short).folded == 0 and list_lines(long, fold_rows=False).folded == 0 and asked == []
    assert list_lines(short, fold_rows=True).folded == 1 and list_lines(long).folded == 1
    assert asked == [FOLD_ABOVE, FOLD_ABOVE + 1]


def test_a_group_that_is_only_partly_shown_is_taken_apart(folded):
    folded(BLOCKS)
    assert labels(list_lines(chained(6), ("r2", "r5"), fold_rows=True)) == ["r2", "2 x Dense", "r5"]
    assert labels(list_lines(chained(6), ("r0", "r3"), fold_rows=True)) == ["r0", "r1", "r2", "r3"]


def test_totals_are_the_same_folded_or_not_and_a_note_says_that_rows_are_hidden(folded):
    folded(BLOCKS)
    whole, less = report_text(chained(6)).splitlines(), report_text(chained(6), fold=True).splitlines()
    assert less[3:7] == [
        "r0 (Dense)            (None, 0)          1",
        "(Dense -> Dense) x 2  (None, 4)          4",
        "r5 (Dense)            (None, 5)          1",
        "6 rows, repeated ones folded; fold=False shows each.",
    ]  # fmt: skip
    assert less[less.index("") :] == whole[whole.index("") :]


@pytest.mark.parametrize("style", ["keras2", "torch"])
def test_the_styles_of_others_fold_only_on_request(folded, style):
    asked = folded([Group("run", 70, [[place] for place in range(70)], "70 x Dense")])
    assert "r69 (Dense)" in report_text(chained(70), style=style) or "Dense-70" in report_text(chained(70), style=style)
    assert asked == []
    assert "70 x Dense" in report_text(chained(70), style=style, fold=True)


# ---------------------------------------------------------------------- ranges
def in_models():
    """A row, a model of two rows, a row, a model with a row of the first one's name."""
    names = [("a", None), ("inner", None), ("b", 1), ("c", 1), ("d", None), ("last", None), ("a", 5)]
    rows = [
        Row(name, "Dense", name if parent is None else f"{names[parent][0]}/{name}", call_shapes=[(1,)], parent=parent,
            depth=0 if parent is None else 1)
        for name, parent in names
    ]  # fmt: skip
    return Report("m", "Net", rows, 0, 0, 0)


@pytest.mark.parametrize(
    ("bounds", "names"),
    [
        (("a", "d"), ["a", "inner", "b", "c", "d"]),
        (("a", "inner"), ["a", "inner", "b", "c"]),
        (("inner", "inner"), ["inner", "b", "c"]),
        (("b", "b"), ["b"]),
        (("last/a", "d"), ["d", "last", "a"]),
        (("d", "last"), ["d", "last", "a"]),
        (["(a|d)$", "la"], ["a", "inner", "b", "c", "d", "last", "a"]),
        (("a", "a"), ["a"]),
    ],
)
def test_a_range_goes_by_outer_rows_and_takes_what_is_inside_along(bounds, names):
    assert labels(list_lines(in_models(), bounds)) == names


def test_a_range_that_is_none_is_refused():
    for bounds in ("ad", ("a",), ("a", "b", "c"), (0, 3), 5):
        with pytest.raises(ArgumentError, match="layer_range takes two names") as caught:
            list_lines(in_models(), bounds)
        assert f"layer_range={bounds!r}" in str(caught.value)
    with pytest.raises(UnknownNameError, match=r"There is no layer named 'inn\('") as caught:
        list_lines(in_models(), ("inn(", "d"))
    assert "did you mean 'inner'?" in str(caught.value)


# ---------------------------------------------------------------------- connections
def is_chain(model, expand_nested=True):
    return list_lines(measure(model, expand_nested=expand_nested)).chain


def test_models_in_a_row_are_a_chain_also_opened():
    x = Input((4,))
    inner = Sequential([Input((4,)), Dense(4), Dense(4)])
    functional = Model(y := Input((4,)), Dense(4)(Dense(4)(y)))
    assert is_chain(Model(x, Dense(2)(functional(inner(Dense(4)(x))))))
    assert is_chain(Sequential([Input((4,)), functional, inner]))


def test_a_graph_with_branches_is_none():
    x, y, shared = Input((4,)), Input((4,)), Dense(4)
    h = Dense(4)(x)
    branched = Model(a := Input((4,)), add([a, Dense(4)(a)]))
    for model in (
        Model(x, add([h, x])),
        Model([x, y], [h, Dense(2)(y)]),
        Model(x, [h, Dense(3)(x)]),
        Model(x, shared(shared(x))),
        Model(x, Dense(2)(branched(x))),
    ):
        assert not is_chain(model)
    assert is_chain(Model(x, Dense(2)(branched(x))), expand_nested=False)


def test_a_sequential_is_a_chain_whatever_is_in_it():
    report = chained(2)
    report.rows[1].links.append(Link("r1", 1))
    assert not list_lines(report).chain
    report.class_name = "Sequential"
    assert list_lines(report).chain


def test_nothing_is_said_of_connections_that_nobody_knows():
    report = chained(3)
    for row in report.rows:
        row.links = []
    assert list_lines(report).chain
    report.rows[2].parent, report.rows[2].depth = 1, 1  # a graph inside a model that is none
    assert list_lines(report).chain


def test_results_beside_the_first_are_numbered():
    report = chained(1)
    report.rows[0].links = [Link("a", 0), Link("b", 0, 1), Link("c", 0, 0, 2)]
    assert list_lines(report).lines[0].sources == ["a", "b[1][0]", "c[0][2]"]


# ---------------------------------------------------------------------- failures and unknown shapes
def failing(**changes):
    report = chained(5, failure=Failure("r2", "It does not fit."), **changes)
    for row in report.rows[2:]:
        row.call_shapes = []
    report.rows[2].failed = True
    return report


def test_a_table_ends_where_the_run_failed():
    listing = list_lines(failing())
    assert labels(listing) == ["r0", "r1", "r2"] and listing.unreached == 2
    assert [line.failed for line in listing.lines] == [False, False, True]
    assert listing.lines[2].shapes == ["FAILED"]


def test_a_layer_that_failed_in_a_later_call_shows_what_it_gave_before():
    report = failing()
    report.rows[2].call_shapes = [(None, 2)]
    assert list_lines(report).lines[2].shapes == ["(None, 2)", "FAILED"]


def test_a_range_that_ends_before_the_failure_is_whole():
    assert list_lines(failing(), ("r0", "r1")).unreached == 0


def test_a_failure_in_no_row_shows_every_row():
    report = failing()
    report.rows[2].failed = False
    listing = list_lines(report)
    assert labels(listing) == ["r0", "r1", "r2", "r3", "r4"] and listing.lines[2].shapes == ["not called"]


def test_rows_without_shapes_were_not_called_or_nobody_knows():
    report = chained(2)
    report.rows[1].call_shapes = []
    report.rows.append(Row("m", "own weights", num_params=3))
    assert [line.shapes for line in list_lines(report).lines] == [["(None, 0)"], ["not called"], ["-"]]
    report.rows[0].call_shapes = []
    assert [line.shapes for line in list_lines(report).lines] == [["?"], ["?"], ["-"]]
