"""Whether the rows of `lamina.inspection.profile` add up to the step that nobody watches, network by network.

    python benchmarks/profile_agreement.py
    python benchmarks/profile_agreement.py --only mlp lstm --libraries lamina --table

Each network is profiled in training and in inference. Its step is timed as it is, in turn with the steps in which each
row is timed; a line shows both, and by how much the sum of the rows is off. Exit status 1: by more than 10 %.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import torch

import lamina
import machine
from lamina.inspection import profile
from suite.results import keep
from suite.workloads import WORKLOADS

NETWORKS = ("mlp", "lenet", "cnn", "resnet", "lstm")
LIBRARIES = ("lamina", "torch")
ALLOWED = 0.1


def network(library: str, name: str) -> tuple[torch.nn.Module, Any]:
    """A network on the device that lamina takes, and the sizes of its inputs.

    Args:
        library: one of `LIBRARIES`.
        name: one of `WORKLOADS`.
    """
    sizes: Any = WORKLOADS[name].inputs
    if library == "lamina":
        return importlib.import_module("suite.keras_networks").NETWORKS[name](lamina), None
    model = importlib.import_module("suite.torch_networks").NETWORKS[name]()
    sizes = [(size[-1], *size[:-1]) if len(size) == 3 else size for size in sizes]  # channels first
    return model.to(lamina.config.device()), sizes


def main() -> int:
    """Print a line for each profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(NETWORKS), metavar="NAME",
                        help=", ".join(WORKLOADS))  # fmt: skip
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES), metavar="NAME")
    parser.add_argument("--steps", type=int, help="steps of each kind (as many as take a second or two)")
    parser.add_argument("--quick", action="store_true", help="7 steps each")
    parser.add_argument("--table", action="store_true", help="show the profiles too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the profiles here")
    given = parser.parse_args()
    here = machine.describe()
    print("\n".join(machine.lines(here)))
    print(f"{'network':<8} {'library':<8} {'way':<10} {'rows':>4} {'sum, ms':>9} {'step, ms':>9} {'off':>7}")
    found: list[dict[str, Any]] = []
    for name in given.only:
        for library in given.libraries:
            model, sizes = network(library, name)
            for train in (True, False):
                steps = given.steps or (7 if given.quick else None)
                seen = profile(model, sizes, train, batch_size=WORKLOADS[name].batch, steps=steps)
                way = "training" if train else "inference"
                times = f"{seen.total_ms:>9.3f} {seen.step_ms:>9.3f} {seen.difference:>+7.1%}"
                print(f"{name:<8} {library:<8} {way:<10} {len(seen.rows):>4} {times}", flush=True)
                if given.table:
                    print(seen)
                found.append({"network": name, "library": library, **seen.to_dict()})
    keep({"machine": here, "profiles": found}, given.json)
    return int(any(abs(row["difference"]) > ALLOWED for row in found))


if __name__ == "__main__":
    sys.exit(main())
