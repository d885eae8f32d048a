"""What this machine is and what it can do at most: products in float32 and bfloat16, copies in memory.

The other programs divide by these figures. A product's peak is the best of several large products through each of the
ways that torch has, so it is what a kernel can be asked to reach, not what the processor's data sheet says.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lamina
from suite.results import keep
from suite.timing import turns

SIZES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 4096))
QUICK_SIZES = SIZES[:1]
COPIED, QUICK_COPIED = 1 << 29, 1 << 27  # bytes; far more than a cache holds
KINDS = ("float32", "bfloat16")
# What the processor's flags say about products, beyond the capability that torch names.
EXTENSIONS = ("avx512_bf16", "amx_bf16", "avx512_fp16", "avx_vnni", "asimd", "sve", "bf16")


def products(size: tuple[int, int, int], dtype: torch.dtype) -> dict[str, Callable[[], torch.Tensor]]:
    """The ways that this torch has to multiply two matrices of `size`: rows, inner size, columns."""
    rows, inner, columns = size
    a, b = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    turned = b.t()
    ways: dict[str, Callable[[], torch.Tensor]] = {"torch.mm": lambda: torch.mm(a, turned)}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        direct: Any = torch.ops.mkldnn._linear_pointwise
        try:
            direct(a, b, None, "none", [], "")
        except RuntimeError:  # built without oneDNN, or it has no kernel for this dtype here
            return ways
        ways["mkldnn._linear_pointwise"] = lambda: direct(a, b, None, "none", [], "")
    return ways


def peak_product(dtype: torch.dtype, quick: bool = False) -> tuple[float, str]:
    """GFLOP/s of the fastest large product, and which one it was."""
    best = (0.0, "")
    with torch.inference_mode():
        for size in QUICK_SIZES if quick else SIZES:
            ways = products(size, dtype)
            for way in ways.values():
                way()
            for name, seconds in turns(ways, 3 if quick else 7).items():
                rate = 2 * size[0] * size[1] * size[2] / min(seconds) / 1e9
                best = max(best, (rate, f"{name}, {size[0]} x {size[1]} x {size[2]}"))
    return best


def copy_bandwidth(quick: bool = False) -> float:
    """GB/s of a large copy by all threads, bytes read and bytes written counted."""
    count = (QUICK_COPIED if quick else COPIED) // 4
    source, target = torch.ones(count), torch.zeros(count)
    seconds = turns({"copy": lambda: target.copy_(source)}, 3 if quick else 7)["copy"]
    return 2 * 4 * count / min(seconds) / 1e9


def peaks(quick: bool = False) -> dict[str, Any]:
    """The most that this machine does: GFLOP/s by dtype, GB/s.

    Args:
        quick: fewer and smaller measurements.
    """
    (single, single_way), (short, short_way) = (peak_product(d, quick) for d in (torch.float32, torch.bfloat16))
    return {
        "float32_gflops": single,
        "float32_by": single_way,
        "bfloat16_gflops": short,
        "bfloat16_by": short_way,
        "copy_gb_per_s": copy_bandwidth(quick),
    }


def describe() -> dict[str, Any]:
    """The machine and the versions, in words and numbers that go into a page."""
    facts = _cpuinfo()
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "family": " ".join(facts[key] for key in ("vendor_id", "cpu family", "model") if key in facts),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "isa": [torch.backends.cpu.get_cpu_capability(), *(name for name in EXTENSIONS if name in flags)],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "lamina": lamina.__version__,
        "commit": _commit(),
        # Others at work show here; what is measured beside them is not to be trusted.
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "date": datetime.date.today().isoformat(),
    }


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor; nothing on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _commit() -> str:
    """The commit of this tree, with a + where files differ from it; empty outside a checkout."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def measure(quick: bool = False) -> dict[str, Any]:
    """`describe` with `peaks` beside it, as the programs keep it."""
    return {**describe(), "peaks": peaks(quick)}


def lines(machine: dict[str, Any]) -> list[str]:
    """What `measure` gave, for a person to read."""
    load = "unknown" if machine["load"] is None else f"{machine['load']:.1f}"
    commit = f" ({machine['commit']})" if machine["commit"] else ""
    what = f"{machine['cpu']}, {machine['family']}; {machine['cores']} cores, {machine['threads']} threads"
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "numpy"))
    found = [
        f"{what}, {' '.join(machine['isa'])}; {machine['system']}",
        f"lamina {machine['lamina']}{commit}, {versions}, Python {machine['python']}; {machine['date']}",
        f"load average before the start {load}",
    ]
    if "peaks" in machine:
        top = machine["peaks"]
        found += [f"{kind:<8} {top[f'{kind}_gflops']:8.0f} GFLOP/s  {top[f'{kind}_by']}" for kind in KINDS]
        found.append(f"{'copy':<8} {top['copy_gb_per_s']:8.1f} GB/s, bytes read and bytes written")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller measurements")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found here")
    arguments = parser.parse_args()
    machine = measure(arguments.quick)
    print("\n".join(lines(machine)))
    keep(machine, arguments.json)


if __name__ == "__main__":
    main()
