"""Freed memory that is kept: counted in the pages that the system has to find again."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina.allocator import keep_freed_memory

OPT_OUTS = {
    "LAMINA_ALLOCATOR": "0",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072",
}
glibc_only = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or "LD_PRELOAD" in os.environ, reason="another C library or another allocator"
)

# Each time 64 MB are asked for, written page by page and given back.
PROGRAM = """
import ctypes, resource
{}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def once():
    block = libc.malloc(2**26)
    ctypes.memset(block, 1, 2**26)
    libc.free(block)
once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(setting: str, **variables: str) -> int:
    """How many pages the system has to find for 5 x 64 MB in a process that begins with `setting`."""
    root = str(Path(str(lamina.__file__)).parents[1])
    environment = {name: value for name, value in os.environ.items() if name not in OPT_OUTS}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setting)],
        env={**environment, "PYTHONPATH": root, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0 and result.stderr == "", result.stderr
    return int(result.stdout)


@pytest.fixture
def free_to_set(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """No variable opts out; the settings that would be made are noted instead."""
    for name in OPT_OUTS:
        monkeypatch.delenv(name, raising=False)
    made: list[tuple[int, int]] = []

    class Library:
        def gnu_get_libc_version(self) -> str:
            return "2.36"

        def mallopt(self, name: int, value: int) -> int:
            made.append((name, value))
            return 1

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    return made


@glibc_only
def test_importing_lamina_keeps_freed_memory():
    """Without it all of the pages are found five times; with it none."""
    without, kept = faults("pass"), faults("import lamina")
    assert without > 100
    assert kept < without / 10


@glibc_only
@pytest.mark.parametrize("name", OPT_OUTS)
def test_each_variable_opts_out(name):
    assert faults("import lamina", **{name: OPT_OUTS[name]}) > 100


@glibc_only
def test_the_setting_that_was_made_is_reported():
    assert faults("from lamina.allocator import keep_freed_memory as keep; assert keep()") < 100
    setting = "from lamina.allocator import keep_freed_memory as keep; assert not keep()"
    assert faults(setting, LAMINA_ALLOCATOR="0") > 100


def test_glibc_is_told_two_thresholds(free_to_set):
    assert keep_freed_memory() is True
    assert dict(free_to_set) == {-1: 2**31 - 1, -3: 2**30}  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h


@pytest.mark.parametrize("name", OPT_OUTS)
def test_nothing_is_set_where_a_variable_says_otherwise(free_to_set, monkeypatch, name):
    monkeypatch.setenv(name, OPT_OUTS[name])
    assert keep_freed_memory() is False and free_to_set == []


def test_the_variable_of_laminas_own_only_counts_as_zero(free_to_set, monkeypatch):
    monkeypatch.setenv("LAMINA_ALLOCATOR", "1")
    assert keep_freed_memory() is True


@pytest.mark.parametrize("system", ["darwin", "win32", "freebsd14"])
def test_nothing_is_set_on_other_systems(free_to_set, monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    assert keep_freed_memory() is False and free_to_set == []


@pytest.mark.parametrize("library", [object(), OSError("no library")])
def test_nothing_is_set_with_another_c_library(free_to_set, monkeypatch, library):
    def load(name: Any) -> Any:
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert keep_freed_memory() is False


def test_a_setting_that_the_library_refuses_is_reported(free_to_set, monkeypatch):
    class Refusing:
        gnu_get_libc_version = None

        def mallopt(self, name: int, value: int) -> int:
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Refusing())
    assert keep_freed_memory() is False
