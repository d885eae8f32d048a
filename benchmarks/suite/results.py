"""Raw measurements in files, and what they come to: medians, and ratios to the fastest of the others."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

OURS, PLAIN = "lamina", "torch"
FIGURES = ("fit_ms", "predict_ms", "first_epoch_s", "peak_mb")

Key = tuple[str, str, str]
"""Precision, network, library."""


def keep(found: Any, path: Path | None) -> None:
    """Write measurements into a file, if one is named.

    Args:
        found: numbers, words, lists and dicts.
        path: where; its folder is made.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def medians(measurements: Iterable[Mapping[str, Any]]) -> dict[Key, dict[str, float]]:
    """For each precision, network and library the median over its processes of each of `FIGURES`.

    Args:
        measurements: one for each process; the times of fit and predict are lists, whose median stands for the process.
    """
    rows: dict[Key, list[Mapping[str, Any]]] = {}
    for row in measurements:
        rows.setdefault((row["precision"], row["network"], row["library"]), []).append(row)
    return {key: {name: statistics.median(_one(row[name]) for row in found) for name in FIGURES}
            for key, found in rows.items()}  # fmt: skip


def _one(figure: float | list[float]) -> float:
    return statistics.median(figure) if isinstance(figure, list) else figure


def best_peer(times: Mapping[str, float]) -> tuple[str, float] | None:
    """The fastest library but ours, and its time over ours: above 1, ours is the faster one.

    Args:
        times: under the libraries' names.

    Returns:
        `None` where ours or all others are missing.
    """
    peers = {name: value for name, value in times.items() if name != OURS}
    if not peers or OURS not in times:
        return None
    best = min(peers, key=lambda name: peers[name])
    return best, peers[best] / times[OURS]


def share(flops: float, moved: float, ms: float, peaks: Mapping[str, float]) -> tuple[str, float, float]:
    """What limits a kernel, the rate that it reached, and the share of the machine's measured peak.

    The limit is that of the two, products and memory, which would take longer at full speed.

    Args:
        flops: floating-point operations.
        moved: bytes read and written at least.
        ms: how long it took.
        peaks: `float32_gflops` and `copy_gb_per_s` of the machine.

    Returns:
        `"GFLOP/s"` or `"GB/s"`, the rate in it, and the share.
    """
    by_flops, by_bytes = flops / peaks["float32_gflops"] / 1e6, moved / peaks["copy_gb_per_s"] / 1e6
    if by_flops >= by_bytes:
        return "GFLOP/s", flops / ms / 1e6, by_flops / ms
    return "GB/s", moved / ms / 1e6, by_bytes / ms
