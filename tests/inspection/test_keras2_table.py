"""The table of Keras 2, character for character; tests/support/record_keras2.py recorded what Keras 2 itself prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from keras2_networks import CHAINS, NETWORKS, TABLES

import lamina
from lamina.errors import ArgumentError
from lamina.inspection import Failure, Link, Report, Row, measure, report_text

GOLDEN = Path(__file__).parent / "golden"


def golden(folder, name):
    return (GOLDEN / folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def printed(model, expand_nested=False, **options):
    report = model if isinstance(model, Report) else measure(model, expand_nested=expand_nested)
    return report_text(report, style="keras2", **options).splitlines()


def test_every_recorded_table_is_compared():
    assert {path.stem for path in (GOLDEN / "keras_2_1_1").iterdir()} == set(TABLES)
    assert {path.stem for path in (GOLDEN / "tf_keras").iterdir()} == set(NETWORKS)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_that_of_keras_2_1_1(name):
    network, options = TABLES[name]
    assert printed(NETWORKS[network](lamina), **options) == golden("keras_2_1_1", name)


def rows_of(lines, chain):
    """The rows of a table of 240 characters, cell by cell, and the borders between them, level by level."""
    ends = [0, 108, 204, 240, 251] if chain else [0, 79, 132, 160, 240, 251]
    start = next(place for place, line in enumerate(lines) if line.startswith("===")) + 1
    stop = next(place for place in range(start, len(lines)) if lines[place].startswith("==="))
    rows, borders = [], []
    for line in lines[start:stop]:
        if set(line) <= set("|\u00af"):
            borders.append(line)
        elif set(line) - set("|_ "):
            depth = len(re.match(r"\|*", line).group())
            cells = [line[a:b].strip("| ") for a, b in zip(ends, ends[1:], strict=False)]
            if cells[0]:
                rows.append([depth, *cells])
            else:  # tf_keras folds some cells also where there is room
                rows[-1] = [
                    depth,
                    *(f"{above} {cell}".strip() for above, cell in zip(rows[-1][1:], cells, strict=True)),
                ]
    return rows, [border for border in borders if border.strip("|")]


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_and_borders_are_those_of_tf_keras(name):
    """tf_keras writes the shape of an Input and connections as lists, and leaves them out within a model."""
    chain = name in CHAINS
    positions = [0.45, 0.85, 1.0] if chain else [0.33, 0.55, 0.67, 1.0]
    options = {"line_length": 240, "positions": positions, "show_trainable": True}
    theirs, their_borders = rows_of(golden("tf_keras", name), chain)
    ours, borders = rows_of(printed(NETWORKS[name](lamina), expand_nested=True, **options), chain)
    for row in theirs:
        if "(InputLayer)" in row[1]:
            row[2] = row[2].removeprefix("[").removesuffix("]")
        if not chain:
            row[4] = " ".join(re.findall(r"[^',\s\[\]]+\[\d+\]\[\d+\]", row[4]))
    for row in ours:
        if not chain and row[0]:
            row[4] = ""
    assert ours == theirs and len(ours) > 2
    assert borders == their_borders


def test_a_border_is_all_that_stands_after_a_model():
    lines = [line.rstrip() for line in printed(NETWORKS["nested"](lamina), expand_nested=True, line_length=60)]
    place = next(place for place, line in enumerate(lines) if line.startswith("| inner_sum"))
    assert lines[place - 3 : place + 4] == [
        "||" + "\u00af" * 56 + "||",
        "|| core_dense (Den (None, 4)     20     y[0][0]           ||",
        "|" + "\u00af" * 58 + "|",
        "| inner_sum (Add)  (None, 4)     0      core[0][0]         |",
        "|                                       y[0][0]            |",
        "\u00af" * 60,
        "outer_sum (Add)    (None, 4)     0      chain[0][0]",
    ]


def test_a_report_in_torchs_style_has_no_borders():
    rows = [Row("a", "Linear", call_shapes=[(None, 4)], depth=2), Row("b", "Block", call_shapes=[(None, 4)], depth=1)]
    lines = printed(Report("m", "Net", rows, 0, 0, 0, style="torch"))
    assert [line.split("  ")[0] for line in lines[3:6:2]] == ["a (Linear)", "b (Block)"]
    assert "|" not in "".join(lines)


def test_titles_on_request_stand_where_tf_keras_has_them():
    recorded = golden("tf_keras", "nested")
    lines = printed(NETWORKS["nested"](lamina), line_length=240, show_trainable=True)
    assert lines[1].index("Trainable") == recorded[2].index("Trainable") == 240
    assert len(lines[0]) == len(recorded[1]) == 251


def test_wide_letters_take_two_places():
    rows = [Row("卷积层", "Conv2D", call_shapes=[(None, 4)]), Row("x" * 28 + "层", "Add", call_shapes=[(None, 4)])]
    lines = printed(Report("m", "Sequential", rows, 0, 0, 0))
    assert lines[3].startswith("卷积层 (Conv2D)" + " " * 14 + "(None, 4)")
    assert lines[5].startswith("x" * 28 + " (None, 4)")


def test_a_failure_is_marked_and_explained():
    rows = [
        Row("a", "Dense", call_shapes=[(None, 4)]),
        Row("b", "Dense", failed=True, links=[Link("a", 0)]),
        Row("c", "Dense"),
    ]
    report = Report("m", "Sequential", rows, 0, 0, 0, failure=Failure("b", "It does not fit.", "4", "5", "take 4"))
    lines = printed(report)
    assert lines[5].split() == ["b", "(Dense)", "FAILED", "0"] and "c (Dense)" not in "\n".join(lines)
    assert lines[-5:] == [
        "The run did not reach 1 more row.",
        "FAILED in 'b': It does not fit.",
        "  expected: 4",
        "  received: 5",
        "  fix:      take 4",
    ]


def test_layers_that_were_not_called_say_so():
    report = Report("m", "Net", [Row("a", "Dense", call_shapes=[(None, 4)]), Row("b", "Dense")], 0, 0, 0)
    assert printed(report)[5].split() == ["b", "(Dense)", "not", "called", "0"]


@pytest.mark.parametrize("positions", [[0.5, 1.0], [0.5, 0.4, 1.0], [0.01, 0.5, 1.0], []])
@pytest.mark.parametrize("style", ["keras", "keras2"])
def test_positions_without_room_are_refused(style, positions):
    report = Report("m", "Sequential", [Row("a", "Dense", call_shapes=[(None, 4)])], 0, 0, 0)
    with pytest.raises(ArgumentError, match="These positions leave no room for the columns") as caught:
        report_text(report, style=style, line_length=60, positions=positions)
    assert "3 rising numbers, each at least 4 characters" in str(caught.value)
    assert f"positions={positions} of a line of 60" in str(caught.value)
