"""Processes that are killed, by SIGKILL and at any moment, come to the weights, logs and files of one that is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from killed_run import KINDS

KILLS = 6  # of each kind
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found():
    """What the program says of each kind of data; in the memory's file system if there is one, for speed."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        done = subprocess.run(
            [sys.executable, "tests/support/killed_run.py", str(folder), str(KILLS), "20"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        yield json.loads(done.stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are made by fork")
@pytest.mark.parametrize("kind", KINDS)
def test_runs_over_this_kind_of_data_end_as_if_nobody_had_killed_them(found, kind):
    assert isinstance(found[kind], dict), found[kind]
    assert found[kind]["kills"] == KILLS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are made by fork")
def test_fifty_kills_some_of_them_within_a_write(found):
    counts = [kind for kind in found.values() if isinstance(kind, dict)]
    assert sum(kind["kills"] for kind in counts) >= 50
    assert sum(kind["inside a write"] for kind in counts) >= 10
