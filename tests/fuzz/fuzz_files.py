"""Hostile files by the thousand: each must end in a `LaminaError` or a model, within ten seconds and a gibibyte.

    python tests/fuzz/fuzz_files.py --count 20000 --seed 1

Every file is given to the loader of its kind and to `inspect_model`, in a process that may not take more memory than
that, and that reports whatever an import, a command, a socket or an opened file would show. `--keep` keeps the files
that fail. YAML is read if PyYAML is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parent)]

import mutations  # noqa: E402
import samples  # noqa: E402
import torch  # noqa: E402

from lamina.errors import LaminaError  # noqa: E402
from lamina.saving import inspect_model, load_model, load_weights, loading, model_from_json, model_from_yaml  # noqa: E402
from lamina.saving.states import read_state  # noqa: E402

MEMORY = 2**30
NUMBERS = 2**22
"""How many weights an architecture alone may ask for: it is no lie, and would take as long as it takes."""
SECONDS = 10
CHUNK = 250
KINDS = "keras h5 safetensors npz pt old_pt state json yaml".split()
WATCHED = set(
    "os.system os.exec os.posix_spawn os.fork subprocess.Popen socket.connect socket.getaddrinfo urllib.Request "
    "pickle.find_class shutil.rmtree os.remove os.rename webbrowser.open pty.spawn ctypes.dlopen os.symlink os.link "
    "os.chmod os.putenv".split()
)


class Forbidden(BaseException):
    """Something was done that reading a file must not do. No `except Exception` catches it."""


class Guard:
    """Watches what Python reports about itself while a file is read.

    Args:
        allowed: the folders from which files may be opened.
    """

    def __init__(self, allowed: list[str]) -> None:
        self.on = False
        self.seen: list[str] = []
        self._allowed = tuple(allowed)
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in WATCHED:
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" and isinstance(arguments[0], str) and not arguments[0].startswith(self._allowed):
            self.seen.append(f"open {arguments[0]}")
        elif event == "import" and arguments[0].partition(".")[0] in ("os", "subprocess", "evil", "builtins"):
            self.seen.append(f"import {arguments[0]}")


def load(path: Path, kind: str, owner: Any) -> Any:
    """Give a file to the loader that its kind has."""
    if kind == "keras":
        return load_model(path)
    if kind == "json":
        return model_from_json(path.read_bytes().decode("utf-8", "surrogateescape"))
    if kind == "yaml":
        return model_from_yaml(path.read_bytes().decode("utf-8", "surrogateescape"))
    if kind == "state":
        return read_state(path)
    if kind == "h5" and not path.name.endswith(".weights.h5"):
        return load_model(path)
    return load_weights(owner, path)


def run_one(
    number: int, seed: int, good: list[Any], owners: dict[str, Any], folder: Path, guard: Guard
) -> dict[str, Any]:
    """Make one hostile file and read it."""
    chance = random.Random(f"{seed}:{number}")
    kind, name, data = good[number % len(good)]
    canary = folder / "canary"
    hostile = mutations.Mutator(chance, str(canary)).mutate(data, kind)
    path = folder / name
    path.write_bytes(hostile)
    result: dict[str, Any] = {"number": number, "kind": kind, "name": name, "seconds": 0.0}
    readers: list[tuple[str, Callable[[], Any]]] = [
        ("load", lambda: load(path, kind, owners.get(name.partition(".")[0], next(iter(owners.values()))))),
        ("inspect", lambda: inspect_model(path).to_dict()),
    ]
    for what, action in readers:
        begun = time.perf_counter()
        guard.seen.clear()
        guard.on = True
        signal.alarm(SECONDS)
        try:
            action()
            result[what] = "read"
        except LaminaError as error:
            result[what] = "refused"
            if not str(error).strip() or not error.what:
                result["failure"] = f"{what}: an error without words"
        except BaseException as error:
            result[what] = "FAILED"
            result["failure"] = f"{what}: {type(error).__name__}: {str(error)[:200]}\n{traceback.format_exc()[-1500:]}"
        finally:
            signal.alarm(0)
            guard.on = False
        result["seconds"] = max(result["seconds"], time.perf_counter() - begun)
        if guard.seen:
            result["failure"] = f"{what}: {guard.seen[:3]}"
    if canary.exists():
        result["failure"] = "the canary was made"
    path.unlink(missing_ok=True)
    return result


def status(word: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(word):
            return int(line.split()[1]) * 1024
    return 0


def worker(numbers: list[int], seed: int, good: list[Any], pipe: int) -> None:
    """What a child does: read hostile files one after the other, and say of each how it ended."""
    signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("ignore")
    loading.numbers_that_fit = lambda: NUMBERS
    with tempfile.TemporaryDirectory(prefix="lamina-fuzz-") as name:
        folder = Path(name)
        os.environ["HOME"] = name
        owners = samples.models()
        for kind, sample, data in good:  # whatever is imported at first use is imported now
            (folder / sample).write_bytes(data)
            with contextlib.suppress(LaminaError):
                load(folder / sample, kind, owners.get(sample.partition(".")[0], next(iter(owners.values()))))
            inspect_model(folder / sample)
        guard = Guard([name, *{p for p in sys.path if p}, sys.prefix, sys.base_prefix, "/proc/", "<"])
        resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + MEMORY, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in numbers:
            os.write(pipe, f"begin {number}\n".encode())
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            before = status("VmRSS")
            result = run_one(number, seed, good, owners, folder, guard)
            result["memory"] = max(status("VmHWM") - before, 0)
            os.write(pipe, (repr(result) + "\n").encode())


def _too_long(*_: Any) -> None:
    raise Forbidden(f"more than {SECONDS} s")


def fuzz(
    count: int, seed: int, formats: list[str], keep: Path | None, first: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read hostile files in children, and watch over them.

    Returns:
        How each file ended, and those that failed.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="lamina-fuzz-") as name:
        kinds = set(formats or KINDS) - ({"yaml"} if find_spec("yaml") is None else set())
        good = [sample for sample in samples.samples(Path(name)) if sample[0] in kinds]
    results: list[dict[str, Any]] = []
    waiting = list(range(first, first + count))
    while waiting:
        chunk, waiting = waiting[:CHUNK], waiting[CHUNK:]
        done, at, end = _child(chunk, seed, good)
        results += done
        if end is not None:  # the child died or hung over one file; go on behind it
            kind, sample, _ = good[at % len(good)]
            results.append(
                {
                    "number": at,
                    "kind": kind,
                    "name": sample,
                    "seconds": 0.0,
                    "memory": 0,
                    "load": "FAILED",
                    "failure": end,
                }
            )
            waiting = [number for number in chunk if number > at] + waiting
    failures = [result for result in results if "failure" in result]
    for failure in failures:
        kind, sample, data = good[failure["number"] % len(good)]
        chance = random.Random(f"{seed}:{failure['number']}")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            hostile = mutations.Mutator(chance, "/tmp/lamina-canary").mutate(data, kind)
            (keep / f"{failure['number']}-{sample}").write_bytes(hostile)
    return results, failures


def _child(numbers: list[int], seed: int, good: list[Any]) -> tuple[list[dict[str, Any]], int, str | None]:
    """One child over some files: how they ended, the last one, and what happened to the child if it was not well."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            worker(numbers, seed, good, writing)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    os.close(writing)
    done: list[dict[str, Any]] = []
    at, text, hung, begun = numbers[0], b"", False, False
    while True:
        ready, _, _ = select.select([reading], [], [], 4 * SECONDS + 60 * (not done))
        if not ready:
            hung = True
            os.kill(child, signal.SIGKILL)
            break
        block = os.read(reading, 2**16)
        if not block:
            break
        text += block
        *lines, text = text.split(b"\n")
        for line in lines:
            if line.startswith(b"begin "):
                at, begun = int(line[6:]), True
            else:
                done.append(eval(line, {"nan": float("nan"), "inf": float("inf")}))
    os.close(reading)
    _, ended = os.waitpid(child, 0)
    if not begun:
        raise RuntimeError("the child could not begin")
    if hung:
        return done, at, "hangs where no alarm reaches it"
    if ended:
        return done, at, f"the process ended with {ended}"
    return done, at, None


def report(results: list[dict[str, Any]], failures: list[dict[str, Any]]) -> str:
    """A table of how the files ended."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        row = counts[result["kind"]]
        row["files"] += 1
        row[f"load {result.get('load')}"] += 1
        row[f"inspect {result.get('inspect')}"] += 1
        row["ms"] = max(row["ms"], int(1000 * result["seconds"]))
        row["MiB"] = max(row["MiB"], result.get("memory", 0) // 2**20)
        row["failures"] += "failure" in result
    columns = ["files", "load read", "load refused", "inspect read", "inspect refused", "failures", "MiB", "ms"]
    lines = [f"{'format':<12}" + "".join(f"{column:>16}" for column in columns)]
    lines += [
        f"{kind:<12}" + "".join(f"{row[column]:>16,}" for column in columns) for kind, row in sorted(counts.items())
    ]
    for what, unit, scale in (("memory", "MiB", 2**-20), ("seconds", "s", 1)):
        top = sorted(results, key=lambda result: -result.get(what, 0))[:3]
        shown = ", ".join(f"{r['number']} {r['name']} {r.get(what, 0) * scale:.1f} {unit}" for r in top)
        lines.append(f"most {what}: {shown}")
    by_reason = Counter(failure["failure"].splitlines()[0][:160] for failure in failures)
    lines += [f"{count:>5}  {reason}" for reason, count in by_reason.most_common(40)]
    return "\n".join(lines)


def main() -> int:
    """Run it by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first file")
    parser.add_argument("--formats", nargs="*", default=[], help=f"some of {' '.join(KINDS)}")
    parser.add_argument("--keep", type=Path, help="a folder for the files that fail")
    parser.add_argument("--traces", action="store_true", help="print where each failure came up")
    given = parser.parse_args()
    begun = time.perf_counter()
    results, failures = fuzz(given.count, given.seed, given.formats, given.keep, given.first)
    print(report(results, failures))
    seen: set[str] = set()
    for failure in failures if given.traces else []:
        if failure["failure"].splitlines()[0][:100] not in seen:
            seen.add(failure["failure"].splitlines()[0][:100])
            print(f"\n--- {failure['number']} {failure['name']}\n{failure['failure']}")
    print(f"{len(results):,} files, {len(failures)} failures, {time.perf_counter() - begun:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
