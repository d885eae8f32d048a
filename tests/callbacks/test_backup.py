"""What `BackupAndRestore` asks of `fit`; what `fit` does then is in tests/training/test_resuming.py."""

from __future__ import annotations

import math

import pytest

from lamina.callbacks.backup import BackupAndRestore
from lamina.callbacks.base import CallbackList
from lamina.errors import ArgumentError
from lamina.training import Resume


def test_a_backup_needs_a_folder_and_a_time():
    with pytest.raises(ArgumentError, match="The backup needs a folder"):
        BackupAndRestore("")
    with pytest.raises(ArgumentError, match="There is no such time to save"):
        BackupAndRestore("x", save_freq=0)


def test_its_words_are_those_of_resume(tmp_path):
    resume = Resume.of_callback(BackupAndRestore(tmp_path, save_freq=7, double_checkpoint=True))
    assert (resume.path, resume.every_batches, resume.keep, resume.max_share) == (tmp_path, 7, 2, None)
    resume = Resume.of_callback(BackupAndRestore(tmp_path))
    assert (resume.every_batches, resume.every_seconds, resume.keep) == (None, math.inf, 1)


def test_it_costs_nothing_for_single_batches(tmp_path):
    assert not CallbackList(BackupAndRestore(tmp_path, save_freq=2)).has_batch_hooks("train")
