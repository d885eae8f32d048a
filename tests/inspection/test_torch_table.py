"""The table of torchsummary, character for character; tests/support/record_torchsummary.py recorded one."""

from __future__ import annotations

import json
import math
from pathlib import Path

from lamina.inspection import Failure, Report, Row, report_text

HERE = Path(__file__).parent
GOLDEN = (HERE / "golden" / "torchsummary" / "residual.txt").read_text(encoding="utf-8").splitlines()
PUBLISHED = json.loads((HERE.parent / "documents" / "published" / "torch_resnet.json").read_text(encoding="utf-8"))


def residual(**changes):
    """The report of the published network, made by hand."""
    rows = [
        Row(
            f"row_{place}",
            class_name,
            call_shapes=[(None, *shape[1:])],
            num_params=params,
            activation_bytes=4 * math.prod(shape[1:]),
        )
        for place, (class_name, shape, params) in enumerate(PUBLISHED["rows"])
    ]
    total = PUBLISHED["total"]
    known = {"params_bytes": 4 * total, "input_bytes": 4 * 3 * 32 * 32, "style": "torch", **changes}
    return Report("net", "ResNet", rows, total, total, **known)


def test_the_published_network_has_the_table_of_torchsummary():
    assert report_text(residual()).splitlines() == GOLDEN
    assert GOLDEN[-3] == f"Params size (MB): {PUBLISHED['params_mb']:.2f}"
    assert GOLDEN[-2] == f"Estimated Total Size (MB): {PUBLISHED['total_mb']:.2f}"


def test_the_reports_own_style_is_used_unless_another_is_asked_for():
    assert report_text(residual(style="keras"), style="torch").splitlines() == GOLDEN
    assert report_text(residual(), style="keras").splitlines()[1].split() == [
        "Layer",
        "(type)",
        "Output",
        "shape",
        "Params",
    ]


def test_frozen_weights_are_counted_apart():
    report = residual()
    report.trainable_params -= 1000
    lines = report_text(report).splitlines()
    assert lines[-8:-6] == ["Trainable params: 194,738", "Non-trainable params: 1,000"]


def test_several_results_and_calls_are_lists_with_minus_one():
    rows = [
        Row("a", "LSTM", call_shapes=[[(None, 7, 4), [(1, None, 4), (1, None, 4)]]]),
        Row("b", "Head", call_shapes=[{"y": (None, 2), "n": None}]),
        Row("c", "Linear", call_shapes=[(None, 3), (None, 5)]),
        Row("d", "Linear"),
    ]
    lines = report_text(Report("m", "Net", rows, 0, 0, 0, style="torch")).splitlines()
    assert [line.split(maxsplit=1)[1].rsplit(maxsplit=1)[0] for line in lines[3:7]] == [
        "[[-1, 7, 4], [[1, -1, 4], [1, -1, 4]]]",
        "{'y': [-1, 2], 'n': None}",
        "[[-1, 3], [-1, 5]]",
        "not called",
    ]


def test_columns_grow_so_that_nothing_is_cut_and_wide_letters_align():
    from rich.cells import cell_len

    rows = [
        Row("a", "很长的类名很长的类名很长的类名", call_shapes=[(None, 4)], num_params=3),
        Row("b", "B", call_shapes=[(None, 4)], num_params=1234567890123),
    ]
    lines = report_text(Report("m", "Net", rows, 0, 0, 0, style="torch")).splitlines()
    assert "很长的类名很长的类名很长的类名-1" in lines[3] and "1,234,567,890,123" in lines[4]
    assert cell_len(lines[1]) == cell_len(lines[3]) == cell_len(lines[4]) == len(lines[0]) - 1


def test_a_failure_is_marked_and_explained():
    rows = [
        Row("a", "Linear", call_shapes=[(None, 4)]),
        Row("b", "Linear", failed=True),
        Row("c", "Linear"),
    ]
    report = Report("m", "Net", rows, 0, 0, 0, style="torch", failure=Failure("b", "It does not fit.", fix="take 4"))
    lines = report_text(report).splitlines()
    assert lines[4].split() == ["Linear-2", "FAILED", "0"] and lines[5].startswith("====")
    assert lines[-3:] == [
        "The run did not reach 1 more row.", "FAILED in 'b': It does not fit.", "  fix:      take 4",
    ]  # fmt: skip


def test_columns_on_request_stand_at_the_right():
    lines = report_text(residual(), show_trainable=True, show_flops=True, show_memory=True).splitlines()
    assert lines[1].split()[-3:] == ["Trained", "FLOPs", "Memory"]
    assert lines[3].split()[-4:] == ["yes", "-", "64.00", "KB"]
    assert [line[: len(GOLDEN[3])] for line in lines[3:54]] == GOLDEN[3:54]
