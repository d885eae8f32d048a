"""From measurements in a file to the page: medians, ratios, and what a missing figure looks like."""

from __future__ import annotations

import json
import sys

import pytest

import report
from suite.results import best_peer, medians, share

MACHINE = {
    "cpu": "Abacus", "family": "wood 7", "cores": 2, "threads": 2, "isa": ["BEADS"], "system": "Linux x86_64",
    "python": "3.10.1", "torch": "2.9", "numpy": "2.1", "lamina": "0.1", "commit": "abc", "date": "2030-01-02",
    "load": 0.25,
}  # fmt: skip
PEAKS = {"float32_gflops": 100.0, "bfloat16_gflops": 200.0, "copy_gb_per_s": 10.0}


def row(library, fit, predict, first=1.0, peak=100.0, network="mlp", precision="float32"):
    """A process that measured three epochs; one of them was disturbed."""
    return {
        "library": library, "network": network, "precision": precision, "fit_ms": [fit, fit, 50 * fit],
        "predict_ms": [predict / 2, predict, predict * 2], "first_epoch_s": first, "peak_mb": peak,
        "versions": {library.split("-")[-1]: "9.9"},
    }  # fmt: skip


MEASURED = {
    "machine": MACHINE,
    "settings": {"repeats": 3, "rounds": 3, "limit_s": 240.0},
    "rows": [
        row("lamina", 2.0, 1.0, 0.5, 150.0), row("lamina", 9.0, 1.0, 0.5, 150.0), row("lamina", 1.0, 1.0, 0.5, 150.0),
        row("torch", 8.0, 0.5, 1.5), row("keras-jax", 3.0, 4.0, 2.5), row("lamina", 7.0, 7.0, precision="bfloat16"),
    ],
    "missing": [
        {"precision": "float32", "network": "mlp", "library": "keras-torch", "reason": "over 240 s"},
        {"precision": "float32", "network": "lstm", "library": "lamina", "reason": "ValueError: no | such thing"},
    ],
}  # fmt: skip
KERNELS = {
    "machine": {**MACHINE, "peaks": PEAKS},
    "rows": [
        {"family": "linear", "case": "2 x 3", "direction": "forward", "lamina_ms": 2.0, "torch_ms": 3.0,
         "flops": 1e8, "bytes": 1e6},
        {"family": "pooling", "case": "4", "direction": "both", "lamina_ms": 4.0, "torch_ms": 1.0,
         "flops": 1e6, "bytes": 1e7},
    ],
}  # fmt: skip


def cells(page, *starts):
    """The cells of the rows whose first cells are these."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    return [found[len(starts) :] for found in rows if found[: len(starts)] == list(starts)]


def test_a_figure_is_the_median_of_the_medians_of_the_processes():
    figures = medians(MEASURED["rows"])
    assert figures["float32", "mlp", "lamina"] == {
        "fit_ms": 2.0,
        "predict_ms": 1.0,
        "first_epoch_s": 0.5,
        "peak_mb": 150.0,
    }
    assert figures["float32", "mlp", "torch"]["fit_ms"] == 8.0


def test_the_best_peer_is_the_fastest_of_the_others():
    assert best_peer({"lamina": 2.0, "torch": 8.0, "keras-jax": 3.0}) == ("keras-jax", 1.5)
    assert best_peer({"lamina": 2.0, "torch": 1.0}) == ("torch", 0.5)
    assert best_peer({"lamina": 2.0}) is None
    assert best_peer({"torch": 2.0}) is None


def test_the_share_is_of_the_limit_that_is_nearer():
    assert share(1e8, 1e6, 2.0, PEAKS) == pytest.approx(("GFLOP/s", 50.0, 0.5))
    assert share(1e6, 1e7, 4.0, PEAKS) == pytest.approx(("GB/s", 2.5, 0.25))


def test_the_page_has_times_and_ratios_of_each_network():
    page = report.page(MEASURED, KERNELS)
    fit, predict, memory = cells(page, "mlp")[:3]
    assert cells(page, "fit")[0] == ["lamina", "torch", "keras-jax", "keras-torch", "ratio"]
    assert fit == ["**2.00**", "8.00", "3.00", "over 240 s", "1.50"]
    assert predict == ["1.00", "**0.50**", "4.00", "over 240 s", "0.50"]
    assert memory == ["1.50", "0.50", "1.50", "2.50"]


def test_a_library_that_failed_is_said_to_have_failed():
    assert cells(report.page(MEASURED), "lstm") == [["failed", "", "", "", ""]] * 2


def test_each_precision_has_its_tables_and_no_ratio_where_there_is_nothing_to_compare_with():
    page = report.page(MEASURED)
    assert page.index("### float32") < page.index("### bfloat16")
    assert cells(page[page.index("### bfloat16") :], "mlp") == [["**7.00**", ""], ["**7.00**", ""], ["", "1.00"]]


def test_the_page_says_what_was_measured_on_and_when():
    page = report.page(MEASURED, KERNELS)
    assert cells(page, "Date") == [["2030-01-02, load average before the start 0.2"]]
    assert cells(page, "Processor") == [["Abacus (wood 7), 2 cores, 2 threads"]]
    assert cells(page, "Versions") == [["lamina 9.9 (abc), torch 9.9, numpy 2.1, jax 9.9"]]
    assert cells(page, "Products, measured") == [["100 GFLOP/s in float32, 200 in bfloat16"]]


def test_kernels_have_their_rate_and_share():
    page = report.page(MEASURED, KERNELS)
    assert cells(page, "linear: 2 x 3") == [["forward", "2.000", "3.000", "1.50", "50.0 GFLOP/s", "50 %"]]
    assert cells(page, "pooling: 4") == [["forward, back", "4.000", "1.000", "0.25", "2.5 GB/s", "25 %"]]
    assert "## Kernels" not in report.page(MEASURED)


def test_the_program_reads_files_and_writes_the_page(tmp_path, monkeypatch, capsys):
    paths = {name: tmp_path / name for name in ("networks", "kernels", "page")}
    paths["networks"].write_text(json.dumps(MEASURED), encoding="utf-8")
    paths["kernels"].write_text(json.dumps(KERNELS), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["report.py", *(f"--{name}={path}" for name, path in paths.items())])
    report.main()
    assert paths["page"].read_text(encoding="utf-8") == report.page(MEASURED, KERNELS)
    assert str(paths["page"]) in capsys.readouterr().out


def test_runs_for_each_precision_share_a_page_if_the_machine_is_one():
    other = {
        "machine": {**MACHINE, "commit": "def"}, "settings": MEASURED["settings"],
        "rows": [row("torch", 5.0, 5.0, precision="bfloat16")], "missing": [],
    }  # fmt: skip
    both = report.together([MEASURED, other])
    assert both["machine"]["commit"] == "abc, def"
    assert both["rows"] == MEASURED["rows"] + other["rows"]
    assert both["missing"] == MEASURED["missing"]
    assert report.together([MEASURED]) == MEASURED
    other["machine"]["cpu"], other["settings"] = "Slide rule", {**other["settings"], "rounds": 5}
    with pytest.raises(SystemExit, match="differ in machine: cpu, rounds"):
        report.together([MEASURED, other])
