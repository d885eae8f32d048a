"""A short slice of the fuzzer; `python tests/fuzz/fuzz_files.py --count 20000` is the whole of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory and watches children as Linux does")
def test_a_few_hundred_hostile_files_end_in_a_model_or_an_error_of_lamina():
    program = Path(__file__).with_name("fuzz_files.py")
    command = [sys.executable, str(program), "--count", "300", "--seed", "26", "--traces"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    assert "300 files, 0 failures" in result.stdout
