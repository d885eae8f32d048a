"""Writes `docs/performance.md` from the measurements that `networks.py` and `kernels.py` kept with `--json`.

Nothing on the page is typed by hand: measure again and write it again (`make performance`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.results import OURS, PLAIN, Key, best_peer, medians, share

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

HEAD = """# Performance

<!-- Written by benchmarks/report.py; `make performance` measures and writes it again. -->

One machine, one run for each part. Times on another machine differ, and so may ratios; `make bench` shows yours."""

NETWORKS = """## Networks

Each library measures each network in processes of its own, the libraries in turn. Processes for each library:
{repeats}; epochs and predictions timed in each, after a first one: {rounds}; the figures are medians. Data are random
and in memory; Adam, cross-entropy, accuracy counted. `torch` is a loop as torch's guides write it,
`torch-channels-last` the same with that memory format and the fused Adam, `torch-compile` the second one compiled.
Networks and batch sizes: `benchmarks/suite/workloads.py`.

Milliseconds a step. **Ratio**: the time of the fastest other library over lamina's; above 1, lamina is faster, below 1,
slower. The fastest is bold. **Memory**: the most that lamina's process held over the most that plain torch's held,
libraries and data included; below 1 is less. **First epoch**: seconds of the first `fit`, compiling included."""

KERNELS = """## Kernels

One kernel, or one pass of several, beside torch's plain way with channels-last memory, in one process, in turn, in
float32. **Ratio**: torch's time over lamina's. **Rate** is lamina's: operations or bytes, whichever would take longer
at the machine's measured peak, and **share** is the part of that peak that it reaches. Bytes are the least that could
be moved, each tensor once for each direction; what fits in a cache can show more than 100 %. Torch's side profits too
from lamina's keeping freed memory in the process."""


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown, its first column set to the left, the others to the right."""
    heads = list(heads)
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ordered(values: Iterable[str]) -> list[str]:
    """Each value once, in the order of its first appearance."""
    return list(dict.fromkeys(values))


def machine_section(machine: Mapping[str, Any], peaks: Mapping[str, Any] | None, versions: Mapping[str, str]) -> str:
    """What was measured on, with which versions, when.

    Args:
        machine: what `machine.describe` gave.
        peaks: what `machine.peaks` gave, if it was measured.
        versions: of the libraries that took part, beside those in `machine`.
    """
    known = {name: machine[name] for name in ("lamina", "torch", "numpy")} | dict(versions)
    commit = f" ({machine['commit']})" if machine["commit"] else ""
    named = [f"{name} {value}{commit if name == 'lamina' else ''}" for name, value in known.items()]
    load = machine["load"]
    rows = [
        ["Date", machine["date"] + ("" if load is None else f", load average before the start {load:.1f}")],
        [
            "Processor",
            f"{machine['cpu']} ({machine['family']}), {machine['cores']} cores, {machine['threads']} threads",
        ],
        ["Instructions", " ".join(machine["isa"])],
        ["System", f"{machine['system']}, Python {machine['python']}"],
        ["Versions", ", ".join(named)],
    ]
    if peaks:
        single, short = peaks["float32_gflops"], peaks["bfloat16_gflops"]
        rows.append(["Products, measured", f"{single:.0f} GFLOP/s in float32, {short:.0f} in bfloat16"])
        rows.append(["Copy, measured", f"{peaks['copy_gb_per_s']:.1f} GB/s, bytes read and bytes written"])
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def times_table(
    figure: str, precision: str, figures: Mapping[Key, Mapping[str, float]], missing: Iterable[Mapping[str, str]]
) -> str:
    """A row for each network: the times of all libraries, and the ratio to the fastest of the others.

    Args:
        figure: `"fit_ms"` or `"predict_ms"`.
        precision: whose rows.
        figures: what `medians` gave.
        missing: the libraries that could not be measured, and why.
    """
    missing = [each for each in missing if each["precision"] == precision]
    keys = [key for key in figures if key[0] == precision]
    libraries = ordered([key[2] for key in keys] + [each["library"] for each in missing])
    reasons = {(each["network"], each["library"]): each["reason"] for each in missing}
    rows = []
    for network in ordered([key[1] for key in keys] + [each["network"] for each in missing]):
        times = {name: figures[precision, network, name][figure] for name in libraries
                 if (precision, network, name) in figures}  # fmt: skip
        fastest, best = min(times.values(), default=0.0), best_peer(times)
        cells = []
        for name in libraries:
            if name in times:
                cells.append(f"**{times[name]:.2f}**" if times[name] == fastest else f"{times[name]:.2f}")
            else:
                reason = reasons.get((network, name), "")
                cells.append(reason if reason.startswith("over ") else "failed" if reason else "")
        rows.append([network, *cells, f"{best[1]:.2f}" if best else ""])
    return table([figure.removesuffix("_ms"), *libraries, "ratio"], rows)


def memory_table(precision: str, figures: Mapping[Key, Mapping[str, float]]) -> str:
    """A row for each network: memory beside plain torch, and how long the first epoch takes.

    Args:
        precision: whose rows.
        figures: what `medians` gave.
    """
    keys = [key for key in figures if key[0] == precision]
    libraries, rows = ordered(key[2] for key in keys), []
    for network in ordered(key[1] for key in keys):
        found = {name: figures[precision, network, name] for name in libraries if (precision, network, name) in figures}
        both = OURS in found and PLAIN in found
        ratio = f"{found[OURS]['peak_mb'] / found[PLAIN]['peak_mb']:.2f}" if both else ""
        seconds = [f"{found[name]['first_epoch_s']:.2f}" if name in found else "" for name in libraries]
        rows.append([network, ratio, *seconds])
    return table(["first epoch, s", "memory", *libraries], rows)


def networks_section(measured: Mapping[str, Any]) -> str:
    """The part about networks, from what `networks.py` kept."""
    figures, missing = medians(measured["rows"]), measured["missing"]
    parts = [NETWORKS.format(**measured["settings"])]
    for precision in ordered([key[0] for key in figures] + [each["precision"] for each in missing]):
        parts.append(f"### {precision}")
        parts += [times_table(figure, precision, figures, missing) for figure in ("fit_ms", "predict_ms")]
        parts.append(memory_table(precision, figures))
    return "\n\n".join(parts)


def kernels_section(measured: Mapping[str, Any]) -> str:
    """The part about kernels, from what `kernels.py` kept."""
    peaks, rows = measured["machine"]["peaks"], []
    for row in measured["rows"]:
        unit, rate, of_peak = share(row["flops"], row["bytes"], row["lamina_ms"], peaks)
        direction = {"forward": "forward", "both": "forward, back"}[row["direction"]]
        ratio = row["torch_ms"] / row["lamina_ms"]
        rows.append(
            [f"{row['family']}: {row['case']}", direction, f"{row['lamina_ms']:.3f}", f"{row['torch_ms']:.3f}",
             f"{ratio:.2f}", f"{rate:.1f} {unit}", f"{100 * of_peak:.0f} %"]
        )  # fmt: skip
    return f"{KERNELS}\n\n" + table(["", "", "lamina ms", "torch ms", "ratio", "rate", "share"], rows)


def together(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs of `networks.py` on one machine as one: their rows after each other, and all their commits.

    Args:
        measured: what `networks.py` kept, with the same settings of rounds and processes.

    Raises:
        SystemExit: the runs differ in machine or settings.
    """
    first = measured[0]
    for other in measured[1:]:
        apart = [
            f"machine: {name}"
            for name in ("cpu", "threads", "torch")
            if other["machine"][name] != first["machine"][name]
        ]
        apart += [name for name in ("repeats", "rounds") if other["settings"][name] != first["settings"][name]]
        if apart:
            raise SystemExit(f"report.py: these runs can't share a page, they differ in {', '.join(apart)}")
    commits = ", ".join(ordered(each["machine"]["commit"] for each in measured if each["machine"]["commit"]))
    return {
        "machine": {**first["machine"], "commit": commits},
        "settings": first["settings"],
        "rows": [row for each in measured for row in each["rows"]],
        "missing": [row for each in measured for row in each["missing"]],
    }


def page(networks: Mapping[str, Any], kernels: Mapping[str, Any] | None = None) -> str:
    """The whole page.

    Args:
        networks: what `networks.py` kept.
        kernels: what `kernels.py` kept; without it the page has no peaks and no kernels.
    """
    versions: dict[str, str] = {}
    for row in networks["rows"]:
        versions.update(row["versions"])
    peaks = kernels["machine"]["peaks"] if kernels else None
    parts = [HEAD, machine_section(networks["machine"], peaks, versions), networks_section(networks)]
    return "\n\n".join([*parts, *([kernels_section(kernels)] if kernels else [])]) + "\n"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", type=Path, nargs="+", default=[RESULTS / "networks.json"], metavar="FILE",
        help="one or several, say one for each precision",
    )  # fmt: skip
    parser.add_argument("--kernels", type=Path, metavar="FILE", help="left out: a page without kernels")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="where to write it")
    arguments = parser.parse_args()
    networks = together([json.loads(path.read_text(encoding="utf-8")) for path in arguments.networks])
    kernels = json.loads(arguments.kernels.read_text(encoding="utf-8")) if arguments.kernels else None
    arguments.page.write_text(page(networks, kernels), encoding="utf-8")
    print(f"wrote {arguments.page}")


if __name__ == "__main__":
    main()
