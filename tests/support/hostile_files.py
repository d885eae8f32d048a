"""Good files of every format to make hostile ones of, and a watch over what reading them does."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import LaminaError
from lamina.saving import load_model

WATCHED = set(
    "os.system os.exec os.posix_spawn os.fork subprocess.Popen socket.connect socket.getaddrinfo urllib.Request "
    "pickle.find_class shutil.rmtree os.remove os.rename webbrowser.open pty.spawn os.symlink os.link os.chmod".split()
)


class Watch:
    """What Python reports of commands, sockets, pickles and files while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        self.allowed: tuple[str, ...] = ()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in WATCHED:
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" and isinstance(arguments[0], str) and not arguments[0].startswith(self.allowed):
            self.seen.append(f"open {arguments[0]}")


WATCH = Watch()


@contextmanager
def nothing_happens(*folders: Path) -> Iterator[None]:
    """Fail if a command, a socket, a pickle or a file outside of these folders is used inside."""
    WATCH.seen.clear()
    WATCH.allowed = (*map(str, folders), sys.prefix, sys.base_prefix, "/proc/", str(Path(lamina.__file__).parent))
    WATCH.on = True
    try:
        yield
    finally:
        WATCH.on = False
    assert not WATCH.seen, WATCH.seen


def small_model() -> lamina.Model:
    """A functional model with a layer of each part that a config has, compiled."""
    inputs = lamina.Input((6,), name="data")
    x = layers.Dense(5, activation="relu", kernel_regularizer="l2", name="first")(inputs)
    inner = lamina.Sequential([lamina.Input((5,)), layers.Dense(4, name="inside")], name="inner")
    model = lamina.Model(inputs, layers.Dense(2, name="last")(inner(x)), name="net")
    model.compile("adam", "mse", metrics=["mae"])
    return model


def keras_parts(model: lamina.Model, folder: Path) -> dict[str, Any]:
    """The members of a `.keras` archive, the JSON ones parsed."""
    model.save(folder / "good.keras")
    with zipfile.ZipFile(folder / "good.keras") as archive:
        found: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    return {name: json.loads(data) if name.endswith(".json") else data for name, data in found.items()}


def keras_file(path: Path, parts: dict[str, Any]) -> Path:
    """An archive of such members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data if isinstance(data, (bytes, str)) else json.dumps(data))
    return path


def keras2_config(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """A Sequential as Keras 2 had it."""
    return {"class_name": "Sequential", "keras_version": "2.15.0", "config": {"name": "old", "layers": entries}}


def dense(name: str = "dense", **arguments: Any) -> dict[str, Any]:
    """A Dense layer as Keras 2 had it."""
    config = {"name": name, "units": 2, "activation": "linear", "use_bias": True, "batch_input_shape": [None, 3]}
    return {"class_name": "Dense", "config": {**config, **arguments}}


def keras2_file(path: Path, config: Any, training: Any = None) -> Path:
    """A file of Keras 2 with one layer's weights."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"dense"])
        layer = group.create_group("dense")
        layer.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
        layer["dense/kernel:0"], layer["dense/bias:0"] = np.ones((3, 2), "f4"), np.ones(2, "f4")
    return path


def changed_hdf5(content: bytes | Path, change: Callable[[Any], None]) -> bytes:
    """An HDF5 file after a change that h5py makes to it."""
    made = io.BytesIO(content if isinstance(content, bytes) else content.read_bytes())
    with h5py.File(made, "r+") as file:
        change(file)
    return made.getvalue()


def load_any(path: Path, **arguments: Any) -> Any:
    """A model from a file of any kind."""
    return load_model(path, **arguments)


def expect_refused(action: Callable[[], Any], words: str = "", *folders: Path) -> LaminaError:
    """The action ends in an error of lamina's with these words and one thing to do, and nothing else happens."""
    with nothing_happens(*folders), pytest.raises(LaminaError, match=words or None) as caught:
        action()
    assert caught.value.what.strip()
    return caught.value
