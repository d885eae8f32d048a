"""Compiling a source, keeping the result, and doing without: with a source of one line in a folder of its own."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina.kernels import native

# The package gives its function the name of this module.
module: Any = importlib.import_module("lamina.kernels.native.library")

SOURCE = '#include "number.h"\nextern "C" int answer() { return NUMBER; }\n'
FOUND = next((found for found in map(shutil.which, module._COMPILERS) if found), "")
needs_compiler = pytest.mark.skipif(not FOUND or sys.platform == "win32", reason="there is no C++ compiler")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that does not exist yet, the source `toy`, and nothing loaded."""
    sources = tmp_path / "source"
    sources.mkdir()
    (sources / "toy.cpp").write_text(SOURCE)
    (sources / "number.h").write_text("#define NUMBER 42\n")
    monkeypatch.setattr(module, "SOURCES", sources)
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    for name in ("LAMINA_NATIVE", "CXX"):
        monkeypatch.delenv(name, raising=False)
    forget(monkeypatch)
    return tmp_path / "cache"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was loaded is unknown again, as in a new process."""
    for name, empty in (("_libraries", {}), ("_locks", {}), ("_reasons", {}), ("_begun", set())):
        monkeypatch.setattr(module, name, empty)


def compilations(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run from now on."""
    commands: list[list[str]] = []
    run = subprocess.run

    def noted(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", noted)
    return commands


def script(folder: Path, text: str) -> str:
    """A program for `CXX` to name."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@needs_compiler
def test_a_source_is_compiled_into_the_cache_and_loaded(cache, monkeypatch, capfd):
    commands = compilations(monkeypatch)
    found = native.library("toy")
    assert found is not None and found.answer() == 42
    assert native.reason("toy") == ""
    (file,) = cache.iterdir()
    assert file.name.startswith("toy-") and file.suffix == ".so" and len(commands) == 1
    assert file.stat().st_mode & 0o077 == 0 and cache.stat().st_mode & 0o077 == 0
    assert capfd.readouterr() == ("", "")


@needs_compiler
def test_what_is_in_the_cache_is_not_compiled_again(cache, monkeypatch):
    native.library("toy")
    (file,) = cache.iterdir()
    before = file.stat()
    forget(monkeypatch)
    commands = compilations(monkeypatch)
    found = native.library("toy")
    assert found is not None and found.answer() == 42
    assert commands == [] and list(cache.iterdir()) == [file] and file.stat().st_mtime_ns == before.st_mtime_ns


@needs_compiler
def test_what_is_loaded_is_not_looked_for_again(cache, monkeypatch):
    found = native.library("toy")
    monkeypatch.setattr(module, "_built", lambda name: pytest.fail("looked for again"))
    assert native.library("toy") is found


@needs_compiler
@pytest.mark.parametrize("name, text", [("toy.cpp", SOURCE + "// changed\n"), ("number.h", "#define NUMBER 7\n")])
def test_a_change_of_the_source_or_of_a_header_compiles_again(cache, monkeypatch, name, text):
    native.library("toy")
    forget(monkeypatch)
    (module.SOURCES / name).write_text(text)
    found = native.library("toy")
    assert found is not None and found.answer() == (7 if name == "number.h" else 42)
    assert len(list(cache.iterdir())) == 2


@needs_compiler
def test_another_compiler_or_another_processor_compiles_again(cache, monkeypatch, tmp_path):
    native.library("toy")
    forget(monkeypatch)
    monkeypatch.setenv("CXX", script(tmp_path, f'exec {FOUND} "$@"'))
    assert native.library("toy") is not None
    assert len(list(cache.iterdir())) == 2
    forget(monkeypatch)
    identity = module._identity
    monkeypatch.setattr(module, "_identity", lambda compiler: [*identity(compiler), "another processor"])
    assert native.library("toy") is not None
    assert len(list(cache.iterdir())) == 3


@needs_compiler
def test_the_cache_is_in_the_home_folder_where_nothing_names_another(cache, monkeypatch, tmp_path):
    monkeypatch.delenv("LAMINA_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert module._cache_folder() == tmp_path / "home" / ".cache" / "lamina"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert module._cache_folder() == tmp_path / "xdg" / "lamina"
    assert native.library("toy") is not None
    assert len(list((tmp_path / "xdg" / "lamina").iterdir())) == 1 and not cache.exists()


def test_without_a_home_the_reason_says_what_to_set(cache, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LAMINA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(module, "_compiler", lambda: sys.executable)
    assert native.library("toy") is None
    assert native.reason("toy") == "no home directory to keep compiled kernels in; set LAMINA_CACHE"


def test_a_source_that_does_not_exist_is_not_to_be_had(cache):
    assert native.library("nonsense") is None
    assert native.reason("nonsense") == "there is no source nonsense.cpp"
    assert not cache.exists()


def test_without_a_compiler_there_is_no_library_and_the_reason_says_so(cache, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("CXX", "/nonexistent")
    assert native.library("toy") is None
    assert native.reason("toy") == "no C++ compiler is installed (looked for /nonexistent)"
    forget(monkeypatch)
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native.library("toy") is None
    assert native.reason("toy") == "no C++ compiler is installed (looked for g++, clang++, c++)"
    assert not cache.exists() and capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("message", ["the disk is full", "\\377 is no letter"])
def test_a_compiler_that_fails_leaves_its_message_and_no_file(cache, monkeypatch, tmp_path, message, capfd):
    monkeypatch.setenv("CXX", script(tmp_path, f"printf '{message}' >&2; exit 1"))
    assert native.library("toy") is None
    assert native.reason("toy").startswith(f"{tmp_path / 'compiler'} failed: ")
    assert native.reason("toy").endswith(message.replace("\\377", "\N{REPLACEMENT CHARACTER}"))
    assert list(cache.iterdir()) == [] and capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_compiler_that_takes_too_long_is_stopped_and_leaves_no_file(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_SECONDS", 0.2)
    monkeypatch.setenv("CXX", script(tmp_path, "exec sleep 20"))
    assert native.library("toy") is None
    assert "timed out" in native.reason("toy")
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_file_that_is_no_library_gives_a_reason(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", script(tmp_path, "exit 0"))  # leaves the empty file as it is
    assert native.library("toy") is None
    assert "toy-" in native.reason("toy")


@needs_compiler
def test_a_mistake_in_a_source_gives_the_compilers_words(cache):
    (module.SOURCES / "toy.cpp").write_text("this is no C++\n")
    assert native.library("toy") is None
    assert "failed" in native.reason("toy") and "toy.cpp" in native.reason("toy")
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_gives_a_reason(cache, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(module, "_compiler", lambda: sys.executable)
    assert native.library("toy") is None
    assert str(tmp_path / "file") in native.reason("toy")


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_a_file_of_somebody_else_is_not_loaded(cache, monkeypatch):
    native.library("toy")
    forget(monkeypatch)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (file,) = cache.iterdir()
    if file.stat().st_uid == 0:  # the administrator is trusted, so the file must be another's
        os.chown(file, 54321, -1)
    assert native.library("toy") is None
    assert native.reason("toy") == f"{file} belongs to somebody else"


def test_an_environment_variable_switches_off(cache, monkeypatch):
    monkeypatch.setenv("LAMINA_NATIVE", "0")
    commands = compilations(monkeypatch)
    assert native.library("toy") is None
    assert native.reason("toy") == "switched off by LAMINA_NATIVE=0"
    assert commands == [] and not cache.exists()


def test_windows_is_left_to_torch(cache, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert native.library("toy") is None
    assert native.reason("toy") == "not available on Windows"


@needs_compiler
def test_switching_off_nests_and_ends_with_an_error_too(cache):
    with native.switched_off():
        assert native.library("toy") is None and native.reason("toy") == "switched off"
        with native.switched_off():
            assert native.library("toy") is None
        assert native.library("toy") is None
        assert not cache.exists()
    assert native.library("toy") is not None and native.reason("toy") == ""
    with pytest.raises(KeyError), native.switched_off():
        raise KeyError
    assert native.library("toy") is not None


@needs_compiler
def test_two_processes_at_once_both_work(cache, tmp_path):
    """Each compiles into a file of its own; neither ever sees half of one."""
    slow = script(tmp_path, f'touch "{tmp_path}/started-$$"; sleep 0.3; exec {FOUND} "$@"')
    program = (
        "import importlib, pathlib, sys\n"
        "module = importlib.import_module('lamina.kernels.native.library')\n"
        f"module.SOURCES = pathlib.Path({str(module.SOURCES)!r})\n"
        "found = module.library('toy')\n"
        "sys.exit(module.reason('toy') if found is None else found.answer() - 42)\n"
    )
    root = str(Path(str(lamina.__file__)).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "CXX": slow}
    command = [sys.executable, "-c", program]
    children = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for child in children:
        output, errors = child.communicate(timeout=60)
        assert (child.returncode, output, errors) == (0, "", "")
    assert len(list(cache.iterdir())) == 1


@needs_compiler
@pytest.mark.parametrize("name", ["recurrence", "convolution", "normalization"])
def test_laminas_own_sources_compile(name):
    if native.reason(name).startswith("switched off"):
        pytest.skip(native.reason(name))
    assert native.reason(name) == ""
    assert native.library(name) is not None


@needs_compiler
def test_the_compiler_may_have_words_behind_it(cache, monkeypatch):
    monkeypatch.setenv("CXX", f"{shutil.which('env')} {shutil.which('g++') or shutil.which('clang++')}")
    assert native.library("toy") is not None


@needs_compiler
def test_a_source_is_compiled_beside_the_caller_who_may_wait_for_it(cache, monkeypatch):
    began, go_on = threading.Event(), threading.Event()
    built = module._built

    def slow(name):
        began.set()
        assert go_on.wait(30)
        return built(name)

    monkeypatch.setattr(module, "_built", slow)
    module.prepare("toy")
    module.prepare("toy")
    assert began.wait(30) and list(cache.glob("*.so")) == []  # the caller has gone on
    go_on.set()
    assert native.library("toy") is not None
    assert len(list(cache.glob("*.so"))) == 1


def test_nothing_is_prepared_where_kernels_are_switched_off(cache):
    with native.switched_off():
        module.prepare("toy")
    assert module._begun == set()
