"""Measures one library with one network and prints it as a line of JSON: `networks.py` starts it.

A process of its own, because libraries share threads, memory and settings. Run by the interpreter that has the library.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started by its path, it would see only its own folder

from suite.workloads import WORKLOADS, samples

TORCHS = ("torch", "torch-channels-last", "torch-compile")


def keras_style(library: str, network: str, precision: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """`fit` for an epoch and `predict`, of lamina or of Keras on one of its backends.

    Args:
        library: `"lamina"`, or `"keras-"` and the backend.
        network: one of `WORKLOADS`.
        precision: `"float32"` or `"bfloat16"`.
    """
    name, _, backend = library.partition("-")
    os.environ.update({"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"} if backend else {})
    keras = importlib.import_module(name)
    from suite.keras_networks import NETWORKS

    if precision != "float32":
        keras.mixed_precision.set_global_policy(f"mixed_{precision}")
    model = NETWORKS[network](keras)
    workload = WORKLOADS[network]
    inputs, labels = samples(workload)
    x, y = (data[0] if len(data) == 1 else data for data in (inputs, labels))
    loss, heads = "sparse_categorical_crossentropy", len(labels)
    if heads == 1:
        model.compile("adam", loss, metrics=["accuracy"])
    else:
        model.compile("adam", [loss] * heads, metrics=[["accuracy"]] * heads)
    return (
        lambda: model.fit(x, y, batch_size=workload.batch, epochs=1, verbose=0),
        lambda: model.predict(x, batch_size=workload.batch, verbose=0),
    )


def torch_style(library: str, network: str, precision: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """`fit` for an epoch and `predict`, written by hand in torch; arguments as those of `keras_style`."""
    from suite.torch_training import Training

    training = Training(library, network, precision)
    return training.fit, training.predict


def seconds(function: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def peak_mb() -> float:
    """The most memory that this process has held, in megabytes."""
    try:
        # Not getrusage: Linux lets a process begin with the peak of the one that started it.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def versions() -> dict[str, str]:
    """Of the libraries that this process has loaded."""
    found = {name: sys.modules.get(name) for name in ("lamina", "keras", "tensorflow", "jax", "torch", "numpy")}
    return {name: str(getattr(module, "__version__", "?")) for name, module in found.items() if module is not None}


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("network", choices=list(WORKLOADS))
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    prepare = torch_style if arguments.library in TORCHS else keras_style
    began = time.perf_counter()
    fit, predict = prepare(arguments.library, arguments.network, arguments.precision)
    ready = time.perf_counter() - began
    steps = WORKLOADS[arguments.network].steps
    first = seconds(fit)
    fits = [seconds(fit) / steps * 1e3 for _ in range(arguments.rounds)]
    predict()
    predicts = [seconds(predict) / steps * 1e3 for _ in range(arguments.rounds)]
    print(json.dumps({
        "library": arguments.library, "network": arguments.network, "precision": arguments.precision,
        "fit_ms": fits, "predict_ms": predicts, "prepare_s": ready, "first_epoch_s": first,
        "peak_mb": peak_mb(), "versions": versions(),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
