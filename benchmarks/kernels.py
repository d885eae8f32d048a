"""Each kernel of `lamina.kernels` beside torch's plain way, and how near both come to what the machine can do.

Both compute the same case in one process and take turns; times are medians of float32. `forward` keeps nothing for a
way back, `both` is forward and backward. The rate is that of lamina: operations or bytes, whichever would take longer
at the machine's measured peak, and the share of that peak. Bytes are the least that could be moved, each tensor counted
once for each direction. What fits in a cache can therefore show more than the memory's whole bandwidth.

Importing lamina keeps freed memory in the process, for torch's side too; `networks.py` shows torch without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import machine
from lamina.kernels import native
from suite.cases import Case, backward, difference, forward
from suite.kernel_cases import FAMILIES
from suite.results import keep, share
from suite.timing import alternate_for

SOURCES = ("convolution", "normalization", "recurrence")
# Relative to the greatest number: both sum in float32, each in its own order.
ALIKE = 1e-3


def chosen(only: list[str], quick: bool) -> Iterator[Case]:
    """The cases asked for; of a quick run the first of each family.

    Args:
        only: names of families, or parts of the names of cases; all if empty.
        quick: whether one a family is enough.
    """
    for family, cases in FAMILIES.items():
        wanted = (case for case in cases() if not only or family in only or any(word in case.name for word in only))
        for case in wanted:
            yield case
            if quick:
                break


def measure(case: Case, quick: bool) -> list[dict[str, Any]]:
    """One row for the way forward, and one for both ways where there is a way back.

    Args:
        case: what to compute.
        quick: fewer and shorter turns.
    """
    apart = difference(case)
    if not apart < ALIKE:
        raise SystemExit(f"{case.family}, {case.name}: lamina and torch differ by {apart:.1e}")
    rows = []
    for direction, function, work in (("forward", forward, case.forward), ("both", backward, case.both)):
        if work is None:
            continue
        ways = {"lamina": function(case.lamina), "torch": function(case.torch)}
        times = alternate_for(ways, 3 if quick else 9, 0.01 if quick else 0.05)
        rows.append(
            {"family": case.family, "case": case.name, "direction": direction, "lamina_ms": times["lamina"],
             "torch_ms": times["torch"], "flops": work.flops, "bytes": work.bytes}
        )  # fmt: skip
    return rows


def line(row: dict[str, Any], peaks: dict[str, Any]) -> str:
    """A row for a person to read."""
    unit, rate, of_peak = share(row["flops"], row["bytes"], row["lamina_ms"], peaks)
    return (
        f"{row['family']:<13} {row['case']:<47} {row['direction']:<7} {row['lamina_ms']:>9.3f} {row['torch_ms']:>9.3f} "
        f"{row['torch_ms'] / row['lamina_ms']:>6.2f} {rate:>8.1f} {unit:<7} {of_peak:>5.0%}"
    )


def main() -> None:
    """Print a line for each case and direction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="extend", nargs="+", default=[], metavar="NAME",
                        help=f"families ({', '.join(FAMILIES)}) or parts of the names of cases")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one case a family, fewer and shorter turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the measurements here")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    here = machine.measure(arguments.quick)
    print("\n".join(machine.lines(here)))
    for source in SOURCES:
        if native.library(source) is None:
            print(f"no native kernel `{source}` here, torch's stands in: {native.reason(source)}")
    heads = ("family", "case", "", "lamina ms", "torch ms", "ratio", "rate", "", "peak")
    print("{:<13} {:<47} {:<7} {:>9} {:>9} {:>6} {:>8} {:<7} {:>5}".format(*heads))
    rows = []
    for case in chosen(arguments.only, arguments.quick):
        for row in measure(case, arguments.quick):
            print(line(row, here["peaks"]), flush=True)
            rows.append(row)
    if not rows:
        parser.error(f"no case is called {', '.join(arguments.only)}")
    keep({"machine": here, "rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
