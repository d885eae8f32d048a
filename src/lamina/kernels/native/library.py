"""Compile the C++ sources beside this file, once for a machine, and load them.

A source becomes a shared library in the user's cache folder, named after everything that it depends on: the text, the
compiler, the flags, the processor. It has a plain C interface, so no header of torch is read and a source compiles in
two to four seconds. Where there is no compiler, or it fails, `library` gives `None`, and whoever asked falls back on
torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

SOURCES = Path(__file__).parent / "source"
_COMPILERS = ("g++", "clang++", "c++")
# No -ffast-math: a NaN must stay one. Contraction into fused multiply-add is what makes products fast.
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-w")
_SECONDS = 120

_off = False
_reasons: dict[str, str] = {}
_libraries: dict[str, ctypes.CDLL | None] = {}
_locks: dict[str, threading.Lock] = {}
_begun: set[str] = set()


def library(name: str) -> ctypes.CDLL | None:
    """The compiled source `name`, or `None` where it cannot be had.

    The environment variable `LAMINA_NATIVE=0` says that no such kernel is to be used, `LAMINA_CACHE` names another
    folder than `~/.cache/lamina` (`XDG_CACHE_HOME` counts), and `CXX` another compiler.

    Args:
        name: a file in the folder `source`, without its suffix.

    Example:
        >>> library("nonsense") is None
        True
    """
    return None if _off else _loaded(name)


def prepare(name: str) -> None:
    """Begin to compile the source `name`, if it is not there yet, beside whatever else the process does.

    Args:
        name: the source.

    Example:
        >>> prepare("classification")
    """
    if not _off and name not in _begun:
        _begun.add(name)
        threading.Thread(target=_loaded, args=(name,), name=f"lamina-compile-{name}").start()


def reason(name: str) -> str:
    """Why `library` gives `None`, for a person to read; empty where it does not.

    Args:
        name: the source.

    Example:
        >>> with switched_off():
        ...     reason("convolution")
        'switched off'
    """
    if _off:
        return "switched off"
    _loaded(name)
    return _reasons.get(name, "")


@contextlib.contextmanager
def switched_off() -> Generator[None, None, None]:
    """No native kernel is used in here, as on a machine without a compiler.

    Example:
        >>> with switched_off():
        ...     library("convolution") is None
        True
    """
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


def _loaded(name: str) -> ctypes.CDLL | None:
    """The library, loaded once; who comes while another thread compiles it waits for that."""
    if name not in _libraries:
        with _locks.setdefault(name, threading.Lock()):
            if name not in _libraries:
                try:
                    _libraries[name] = ctypes.CDLL(str(_built(name)))
                except (_NotToBeHad, OSError, subprocess.SubprocessError) as error:
                    _reasons[name] = str(error)
                    _libraries[name] = None
    return _libraries[name]


class _NotToBeHad(Exception):
    """The message says why."""


def _built(name: str) -> Path:
    """The file of the compiled source, compiled now if there is none yet."""
    if os.environ.get("LAMINA_NATIVE", "1") == "0":
        raise _NotToBeHad("switched off by LAMINA_NATIVE=0")
    if sys.platform == "win32":
        raise _NotToBeHad("not available on Windows")
    source = SOURCES / f"{name}.cpp"
    if not source.exists():
        raise _NotToBeHad(f"there is no source {source.name}")
    compiler = _compiler()
    flags = (*_FLAGS, "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native")
    key = hashlib.sha256("\0".join([*_texts(source), *_identity(compiler), *flags]).encode()).hexdigest()[:20]
    folder = _cache_folder()
    target = folder / f"{name}-{key}.so"
    if not target.exists():
        _compile(compiler, flags, source, target)
    if hasattr(os, "getuid") and target.stat().st_uid not in (os.getuid(), 0):
        raise _NotToBeHad(f"{target} belongs to somebody else")
    return target


def _compile(compiler: list[str], flags: tuple[str, ...], source: Path, target: Path) -> None:
    """Compile into a file beside the target and rename it: whoever looks sees all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, made = tempfile.mkstemp(suffix=".so", prefix=f".{source.stem}-", dir=target.parent)
    os.close(handle)
    try:
        command = [*compiler, *flags, str(source), "-o", made]
        found = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, errors="replace", timeout=_SECONDS, check=False
        )
        if found.returncode:
            raise _NotToBeHad(f"{' '.join(compiler)} failed: {found.stderr.strip()[-500:]}")
        os.chmod(made, 0o700)
        os.replace(made, target)
    finally:
        Path(made).unlink(missing_ok=True)


def _compiler() -> list[str]:
    """The compiler's path, and the words behind it in `CXX`, as in `CXX="ccache g++"`."""
    wanted = os.environ.get("CXX")
    for name, *rest in [shlex.split(wanted)] if wanted else [[name] for name in _COMPILERS]:
        found = shutil.which(name)
        if found:
            return [found, *rest]
    raise _NotToBeHad(f"no C++ compiler is installed (looked for {wanted or ', '.join(_COMPILERS)})")


def _texts(source: Path) -> list[str]:
    """The source and the headers that it may include."""
    return [path.read_text(encoding="utf-8") for path in (source, *sorted(source.parent.glob("*.h")))]


def _identity(compiler: list[str]) -> list[str]:
    """What else the result depends on: which compiler it is, and the processor whose instructions it may use."""
    real = os.path.realpath(compiler[0])
    found = os.stat(real)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            kept = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
        processor = "".join(sorted(kept))
    except OSError:
        processor = platform.processor()  # starts a process
    return [real, *compiler[1:], str(found.st_size), str(found.st_mtime_ns), platform.machine(), processor]


def _cache_folder() -> Path:
    named = os.environ.get("LAMINA_CACHE")
    if named:
        return Path(named).expanduser()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lamina"
    except RuntimeError as error:  # there is no home
        raise _NotToBeHad("no home directory to keep compiled kernels in; set LAMINA_CACHE") from error
