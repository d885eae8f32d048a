"""Good files to begin with, small ones of every format."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import torch

import lamina
from lamina import layers
from lamina.saving.states import write_state

LEGACY = Path(__file__).parents[1] / "saving" / "legacy_samples"


def models() -> dict[str, lamina.Model]:
    """A few small models, two of them compiled and trained a step."""
    sequential = lamina.Sequential([lamina.Input((6,)), layers.Dense(5, activation="relu"), layers.Dense(2)])
    sequential.compile("adam", "mse", metrics=["mae"])
    sequential.fit(np.zeros((4, 6), "float32"), np.zeros((4, 2), "float32"), verbose=0)
    image = lamina.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, kernel_regularizer="l2")(image)
    x = layers.MaxPooling2D()(layers.BatchNormalization()(x))
    x = torch.relu(layers.Flatten()(x))
    inner = lamina.Sequential([lamina.Input((36,)), layers.Dense(3), layers.Dropout(0.5)], name="inner")
    functional = lamina.Model(image, [inner(x), layers.Dense(1)(x) * 2 + 1])
    words = lamina.Input((7,), dtype="int32")
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(layers.Embedding(9, 4)(words))
    recurrent = lamina.Model(words, layers.GRU(2)(y))
    recurrent.compile(lamina.optimizers.SGD(0.1, momentum=0.9), "mse")
    return {"sequential": sequential, "functional": functional, "recurrent": recurrent}


def samples(folder: Path) -> list[tuple[str, str, bytes]]:
    """Good files: the format, the ending of their name, the bytes.

    Args:
        folder: where to write them for a moment.
    """
    found: list[tuple[str, str, bytes]] = []
    for name, model in models().items():
        for kind, ending in (
            ("keras", ".keras"),
            ("h5", ".weights.h5"),
            ("safetensors", ".safetensors"),
            ("npz", ".npz"),
            ("pt", ".pt"),
        ):
            path = folder / f"{name}{ending}"
            model.save(path) if ending == ".keras" else model.save_weights(path)
            found.append((kind, f"{name}{ending}", path.read_bytes()))
        found.append(("json", f"{name}.json", model.to_json().encode()))
        state = {
            "epoch": 3,
            "model": dict(model.state_dict()),
            "callbacks": [["x", {"best": 0.5, 1: (np.ones(3), "a")}]],
        }
        write_state(folder / "x.state", state)
        found.append(("state", f"{name}.state", (folder / "x.state").read_bytes()))
        torch.save(model.state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
        found.append(("old_pt", f"{name}.pt", (folder / "old.pt").read_bytes()))
    for path in sorted(LEGACY.glob("*.h5")):
        if path.stem in (
            "mlp",
            "lstm",
            "shared",
            "nested",
            "merges",
            "train_adam",
            "operators",
            "lambda_layer",
            "masking",
            "gru",
        ):
            found.append(("h5", path.name, path.read_bytes()))
            with h5py.File(path) as file:
                text = file.attrs["model_config"]
            found.append(("json", f"{path.stem}.json", text.encode()))
            found.append(("yaml", f"{path.stem}.yaml", as_yaml(json.loads(text)).encode()))
    return found


def as_yaml(value: object, indent: int = 0) -> str:
    """Data as YAML in blocks, as `to_yaml` of Keras 2 had it."""
    space = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, member in value.items():
            nested = isinstance(member, (dict, list)) and member
            lines.append(
                f"{space}{key}:" + ("\n" + as_yaml(member, indent + 1) if nested else f" {json.dumps(member)}")
            )
        return "\n".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for member in value:
            text = as_yaml(member, indent + 1)
            lines.append(
                f"{space}- {text.lstrip()}"
                if isinstance(member, (dict, list)) and member
                else f"{space}- {json.dumps(member)}"
            )
        return "\n".join(lines)
    return space + json.dumps(value)
