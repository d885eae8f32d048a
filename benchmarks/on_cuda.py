"""The networks on a CUDA device: lamina's `fit` step by step and with `jit_compile="auto"`, beside plain torch.

    python benchmarks/on_cuda.py --only mlp resnet --seconds 4

Each way trains on data in host memory, as `fit` takes them, and is timed to the end of the device's work; the ways take
turns, and a figure is the median of the rounds. Prints a table and what `"auto"` chose and why.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import lamina
from suite.keras_networks import NETWORKS
from suite.torch_training import Training
from suite.workloads import WORKLOADS, samples

LIBRARIES = ("torch", "torch-channels-last", "torch-compile")


def ours(network: str, precision: str, jit_compile: Any) -> tuple[Any, Callable[[], Any]]:
    """A model of lamina and one epoch of its `fit`."""
    lamina.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")
    model = NETWORKS[network](lamina)
    workload = WORKLOADS[network]
    inputs, labels = samples(workload)
    x, y = (data[0] if len(data) == 1 else data for data in (inputs, labels))
    losses = ["sparse_categorical_crossentropy"] * len(labels)
    metrics: Any = [["accuracy"]] * len(labels) if len(labels) > 1 else ["accuracy"]
    model.compile("adam", losses if len(labels) > 1 else losses[0], metrics=metrics, jit_compile=jit_compile)
    return model, lambda x=x, y=y: model.fit(x, y, batch_size=workload.batch, epochs=1, verbose=0)


class Stop(lamina.callbacks.Callback):
    """Ends training after some seconds, or soon after a choice has been made.

    Args:
        seconds: how many.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.end = time.perf_counter() + seconds

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop if it is time."""
        if time.perf_counter() > self.end or self.model.acceleration.choice == "compiled":
            self.model.stop_training = True


def chosen(network: str, precision: str, seconds: float) -> Any:
    """What `jit_compile="auto"` comes to when a long training is planned."""
    model, epoch = ours(network, precision, "auto")
    x, y = epoch.__defaults__ or (None, None)
    model.fit(x, y, batch_size=WORKLOADS[network].batch, epochs=10**6, verbose=0, callbacks=[Stop(seconds)])
    return model.acceleration


def timed(epoch: Callable[[], Any], steps: int, seconds: float) -> float:
    """Milliseconds a step over epochs that take about so many seconds."""
    torch.cuda.synchronize()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        epoch()
        torch.cuda.synchronize()
        count += 1
    return (time.perf_counter() - began) / count / steps * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--seconds", type=float, default=1.0, help="a round of one way")
    parser.add_argument("--auto", nargs="*", default=[], help="of which networks the choice of auto is shown")
    parser.add_argument("--patience", type=float, default=40, help="seconds after which a fit that chooses is stopped")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(torch.cuda.get_device_name(), torch.__version__, arguments.precision)
    for network in arguments.only:
        steps = WORKLOADS[network].steps
        ways: dict[str, Callable[[], Any]] = {}
        _, ways["lamina"] = ours(network, arguments.precision, False)
        for library in LIBRARIES:
            ways[library] = Training(library, network, arguments.precision, "cuda").fit
        found: dict[str, list[float]] = {name: [] for name in ways}
        for name, epoch in ways.items():  # the first epochs compile
            try:
                timed(epoch, steps, arguments.seconds / 2)
            except Exception as error:
                print(f"  {network} {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
                del found[name]
        for _ in range(arguments.rounds):
            for name in found:
                found[name].append(timed(ways[name], steps, arguments.seconds))
        print(
            json.dumps({network: {name: round(statistics.median(times), 3) for name, times in found.items()}}),
            flush=True,
        )
        if network in arguments.auto:
            print("  auto:", chosen(network, arguments.precision, arguments.patience), flush=True)


if __name__ == "__main__":
    main()
