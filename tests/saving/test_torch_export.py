"""Programs of torch.export, and models under torch.export and torch.compile."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import reference_models as references
import torch

import lamina
from lamina import layers as L
from lamina.errors import ExportError

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NAMES = list(references.REFERENCES)


def detached(outputs: Any) -> list[torch.Tensor]:
    return [y.detach() for y in references.flat(outputs)]


EXPORTED = ["mlp", "cnn", "lstm", "bidirectional", "attention", "encoder_decoder", "several", "subclassed"]
WITHOUT = """
import sys
sys.modules["lamina"] = None
import torch
for name in sys.argv[1:]:
    program = torch.export.load(f"{name}.pt2").module()
    for data, expected in torch.load(f"{name}.pt"):
        torch.testing.assert_close(list(program(*data)), expected, rtol=1e-5, atol=1e-5)
    ops = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("lamina" in op for op in ops), ops
    print(name)
"""


def test_programs_give_what_the_models_give_where_there_is_no_lamina(tmp_path):
    for name in EXPORTED:
        model = references.settled(name)
        model.export(tmp_path / f"{name}.pt2")
        pairs = [(references.flat(data), detached(model(data))) for data in references.batches(name)]
        torch.save(pairs, tmp_path / f"{name}.pt")
    program = [sys.executable, "-W", "ignore", "-c", WITHOUT, *EXPORTED]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == EXPORTED


def loaded(path: Any) -> Any:
    return torch.export.load(path).module()


def test_sizes_of_images_may_be_free(tmp_path):
    inputs = L.Input((None, None, 3))
    x = L.MaxPooling2D(2, 2)(L.Conv2D(4, 3, padding="same", activation="relu")(inputs))
    model = lamina.Model(inputs, L.GlobalAveragePooling2D()(x))
    model.export(tmp_path / "model.pt2")
    program = loaded(tmp_path / "model.pt2")
    for data in (torch.randn(2, 37, 50, 3), torch.randn(1, 9, 8, 3)):
        torch.testing.assert_close(list(program(data)), detached(model(data)), **CLOSE)


def test_a_number_of_steps_that_torch_would_fix_is_refused(tmp_path):
    model = lamina.Sequential([L.Input((None, 4)), L.LSTM(3)])
    with pytest.raises(ExportError, match="number of steps") as caught:
        model.export(tmp_path / "model.pt2")
    assert "(None, None, 4)" in str(caught.value) and list(tmp_path.iterdir()) == []


class Shifted(lamina.Model):
    """A model that only torch.export can follow: its call looks at the type of what it is given."""

    def __init__(self):
        super().__init__()
        self.dense = L.Dense(3)
        self.drop = L.Dropout(0.5)

    def call(self, x, training=None):
        if not isinstance(x, torch.Tensor):
            raise TypeError("tensors only")
        return self.drop(self.dense(x), training=training)


def test_a_model_that_is_no_torch_module_is_followed_itself(tmp_path):
    model, data = Shifted(), torch.randn(3, 4)
    model(data)
    model.train()
    with pytest.raises(ExportError, match="tensors only"):
        model.to_torch()
    model.export(tmp_path / "model.pt2")
    assert model.training and model.drop.training
    program = loaded(tmp_path / "model.pt2")
    for some in (data, data[:1]):
        torch.testing.assert_close(list(program(some)), detached(model(some, training=False)), **CLOSE)


def test_a_model_that_cannot_be_followed_says_why(tmp_path):
    class Decides(lamina.Model):
        def call(self, x):
            return x if x.sum() > 0 else -x

    model = Decides()
    model(torch.ones(2, 3))
    with pytest.raises(ExportError) as caught:
        model.export(tmp_path / "model.pt2")
    assert "torch.export cannot follow" in str(caught.value) and "decides by the values" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- the models themselves
@pytest.mark.parametrize("name", NAMES)
def test_torch_export_follows_the_model_itself(name):
    model = references.settled(name)
    data = references.batches(name)
    batch = torch.export.Dim("batch", max=2**31 - 1)
    shapes = {key: {0: batch} for key in data[1]} if isinstance(data[1], dict) else {0: batch}
    program = torch.export.export(model, (data[1],), dynamic_shapes=(shapes,), strict=False)
    assert not any("lamina" in str(node.target) for node in program.graph.nodes if node.op == "call_function")
    for some in data:
        torch.testing.assert_close(detached(program.module()(some)), detached(model(some)), **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_torch_compile_takes_the_model_as_one_graph(name):
    model = references.settled(name)
    backend = "aot_eager" if name in ("mlp", "lstm") else "eager"
    compiled = torch.compile(model, fullgraph=True, backend=backend, dynamic=False)
    for data in references.batches(name)[1:2]:
        torch.testing.assert_close(detached(compiled(data)), detached(model(data)), **CLOSE)
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["cnn", "attention"])  # torch.compile takes no nn.LSTM
def test_torch_compile_takes_the_torch_module(name):
    model = references.settled(name)
    module = model.to_torch()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    data = references.flat(references.batches(name)[1])
    torch.testing.assert_close(detached(compiled(*data)), detached(model(*data)), **CLOSE)
    torch._dynamo.reset()
