"""Packaged arrays are read as plain numbers only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lamina.datasets import store


def test_arrays_are_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez_compressed(tmp_path / "numbers.npz", first=np.arange(3), second=np.ones((2, 2)))
    monkeypatch.setattr(store.resources, "files", lambda package: tmp_path)
    arrays = store.packaged_arrays("numbers.npz")
    assert sorted(arrays) == ["first", "second"]
    np.testing.assert_array_equal(arrays["first"], [0, 1, 2])
    np.testing.assert_array_equal(arrays["second"], [[1, 1], [1, 1]])


def test_pickled_objects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez_compressed(tmp_path / "objects.npz", objects=np.array([{"a": 1}], dtype=object))
    monkeypatch.setattr(store.resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        store.packaged_arrays("objects.npz")
