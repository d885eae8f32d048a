"""How the time to define a functional model grows with its depth: chains of 1,000, 3,000 and 10,000 Dense layers.

Each depth is built three times, in turn with the others; the medians are printed beside their ratio to the depth.
"""

from __future__ import annotations

import gc
import statistics
import time

import torch

import lamina

DEPTHS = (1000, 3000, 10000)


def build(depth: int) -> dict[str, float]:
    """Seconds for each stage of a chain's life."""
    stages: dict[str, float] = {}
    gc.collect()

    def mark(name: str, since: float) -> float:
        now = time.perf_counter()
        stages[name] = now - since
        return now

    clock = time.perf_counter()
    x = inputs = lamina.Input((4,))
    for _ in range(depth):
        x = lamina.layers.Dense(4)(x)
    clock = mark("layers", clock)
    model = lamina.Model(inputs, x)
    clock = mark("graph", clock)
    assert model.code.count("\n") > depth
    clock = mark("code", clock)
    with torch.no_grad():
        model(torch.ones(1, 4))
    mark("first call", clock)
    return stages


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    build(100)
    runs: dict[int, list[dict[str, float]]] = {depth: [] for depth in DEPTHS}
    for _ in range(3):
        for depth in DEPTHS:
            runs[depth].append(build(depth))
    print(f"{'layers':>7} {'total s':>8} {'us a layer':>11}   stages, ms")
    for depth in DEPTHS:
        stages = {name: statistics.median(run[name] for run in runs[depth]) for name in runs[depth][0]}
        total = sum(stages.values())
        detail = ", ".join(f"{name} {seconds * 1e3:.0f}" for name, seconds in stages.items())
        print(f"{depth:>7} {total:>8.2f} {total / depth * 1e6:>11.0f}   {detail}")


if __name__ == "__main__":
    main()
