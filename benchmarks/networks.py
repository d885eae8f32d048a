"""Whole networks trained and used by lamina, by plain torch and, where there is a Python with them, by Keras.

    python benchmarks/networks.py --quick
    python benchmarks/networks.py --precision float32 bfloat16 --peers /path/to/python --json results.json

Each library measures each network in a process of its own; the libraries take turns, round after round, and a figure is
the median of the rounds. Data are random and in memory, the optimizer is Adam, the loss cross-entropy, accuracy is
counted. `ratio` is the time of the fastest other library over lamina's: above 1, lamina is faster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import machine
from suite.results import OURS, best_peer, keep, medians
from suite.workloads import QUICK, WORKLOADS

PROGRAM = Path(__file__).parent / "suite" / "one_network.py"
LIBRARIES = (OURS, "torch", "torch-channels-last", "torch-compile")
PEERS = ("keras-tensorflow", "keras-jax", "keras-torch")
PRECISIONS = ("float32", "bfloat16")


class Failure(NamedTuple):
    """A library that could not be measured."""

    precision: str
    network: str
    library: str
    reason: str


def command(library: str, network: str, precision: str, options: argparse.Namespace) -> list[str]:
    """What measures one library with one network."""
    python = options.peers if library in PEERS else sys.executable
    return [str(python), str(PROGRAM), library, network, "--precision", precision, "--rounds", str(options.rounds)]


def measured(library: str, network: str, precision: str, options: argparse.Namespace) -> dict[str, Any] | Failure:
    """The measurement of one process, or why there is none."""
    try:
        done = subprocess.run(
            command(library, network, precision, options),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=options.limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Failure(precision, network, library, f"over {options.limit:.0f} s")
    except OSError as error:
        return Failure(precision, network, library, str(error))
    if done.returncode:
        return Failure(precision, network, library, (done.stderr.strip().splitlines() or ["no message"])[-1][:200])
    return json.loads(done.stdout.strip().splitlines()[-1])


def line(found: Iterable[dict[str, Any]], failures: Iterable[Failure], libraries: Iterable[str]) -> Iterator[str]:
    """What a network and precision came to, for a person to read; measurements and failures are its own."""
    by_library = {library: figures for (_, _, library), figures in medians(found).items()}
    missing = {failure.library: failure.reason for failure in failures}
    for figure, name in (("fit_ms", "fit"), ("predict_ms", "predict")):
        times = {library: figures[figure] for library, figures in by_library.items()}
        best = best_peer(times)
        cells = [f"{name} {times[name]:.2f}" for name in libraries if name in times]
        yield f"  {name:<8} ms a step: " + ", ".join(cells) + (f"; ratio {best[1]:.2f} ({best[0]})" if best else "")
    if by_library:
        cells = [f"{name} {f['peak_mb']:.0f} MB, {f['first_epoch_s']:.1f} s" for name, f in by_library.items()]
        yield "  memory at most, first epoch: " + "; ".join(cells)
    yield from (f"  {name}: {reason}" for name, reason in missing.items())


def options() -> argparse.Namespace:
    """What the command line asks for, with what it leaves open filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES + PEERS, metavar="NAME",
                        help=", ".join(LIBRARIES + PEERS))  # fmt: skip
    parser.add_argument(
        "--peers", type=Path, metavar="PYTHON", help="an interpreter with keras, tensorflow, jax, torch"
    )
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--repeats", type=int, help="processes for each library and network (3; quick: 1)")
    parser.add_argument("--rounds", type=int, help="epochs and predictions timed in each (3; quick: 1)")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds after which a process is ended (240)")
    parser.add_argument("--quick", action="store_true", help=f"one process each, and only {', '.join(QUICK)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the measurements here")
    found = parser.parse_args()
    found.only = found.only or list(QUICK if found.quick else WORKLOADS)
    found.libraries = found.libraries or [*LIBRARIES, *(PEERS if found.peers else ())]
    found.repeats, found.rounds = (value or (1 if found.quick else 3) for value in (found.repeats, found.rounds))
    if not found.peers and set(found.libraries) & set(PEERS):
        parser.error("Keras is measured by another interpreter: name it with --peers PYTHON")
    return found


def main() -> None:
    """Print a few lines for each network and precision."""
    wanted = options()
    here = machine.describe()
    print("\n".join(machine.lines(here)))
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for precision in wanted.precision:
        for network in wanted.only:
            print(f"{network}, {precision}", flush=True)
            found: list[dict[str, Any]] = []
            failed: dict[str, Failure] = {}
            for _ in range(wanted.repeats):
                for library in (name for name in wanted.libraries if name not in failed):
                    result = measured(library, network, precision, wanted)
                    if isinstance(result, Failure):
                        failed[library] = result
                    else:
                        found.append(result)
            # One process out of several that went wrong is no figure either.
            found = [row for row in found if row["library"] not in failed]
            print("\n".join(line(found, failed.values(), wanted.libraries)), flush=True)
            rows += found
            failures += failed.values()
            settings = {"repeats": wanted.repeats, "rounds": wanted.rounds, "limit_s": wanted.limit}
            missing = [failure._asdict() for failure in failures]
            # After each network, so that a run that is broken off has not been for nothing.
            keep({"machine": here, "settings": settings, "rows": rows, "missing": missing}, wanted.json)


if __name__ == "__main__":
    main()
