"""Weights in files of four formats: by place and by name, in part, and before the model is built."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pytest
import torch

import lamina
from lamina import layers as L
from lamina.errors import LoadError, WeightsError
from lamina.saving import WeightsReport, load_weights

FORMATS = ["w.weights.h5", "w.safetensors", "w.npz", "w.pt"]


def row(*units: int, names: str = "abc", built: bool = True) -> Any:
    head = [L.Input((4,))] if built else []
    return lamina.Sequential([*head, *(L.Dense(n, name=name) for n, name in zip(units, names, strict=False))])


class Net(lamina.Model):
    """A subclassed model whose second part depends on the values of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first = L.Dense(3)
        self.rest = [L.Dense(2), torch.nn.BatchNorm1d(2)]
        self.scale = self.add_weight((), "ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.rest[1](self.rest[0](self.first(x))) * self.scale


def randomized(model: Any) -> Any:
    with torch.no_grad():
        for weight in model.weights:
            weight.uniform_(0.1, 0.9)
    return model


@pytest.mark.parametrize("name", FORMATS)
def test_weights_come_back_with_a_report(name, tmp_path, caplog):
    model, twin = randomized(row(3, 2)), row(3, 2)
    model.save_weights(tmp_path / name)
    report = twin.load_weights(tmp_path / name)
    assert isinstance(report, WeightsReport) and str(report) == "restored 4 of 4"
    assert sorted(report.restored) == ["a.bias", "a.kernel", "b.bias", "b.kernel"]
    assert report.skipped == report.missing == [] and not caplog.records
    assert all((one == other).all() for one, other in zip(model.get_weights(), twin.get_weights(), strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_what_does_not_fit_is_skipped_on_demand_and_logged_in_one_line(name, tmp_path, caplog):
    model, other = randomized(row(3, 2)), randomized(row(3, 5))
    model.save_weights(tmp_path / name)
    before = other.get_weights()
    with pytest.raises(WeightsError, match="do not fit the model"):
        other.load_weights(tmp_path / name)
    assert all((one == two).all() for one, two in zip(before, other.get_weights(), strict=True))
    report = other.load_weights(tmp_path / name, skip_mismatch=True)
    assert sorted(report.restored) == ["a.bias", "a.kernel"] and sorted(report.missing) == ["b.bias", "b.kernel"]
    assert str(report).startswith("restored 2 of 4, skipped: b.")
    (line,) = caplog.records
    assert line.levelname == "WARNING" and "restored 2 of 4" in line.getMessage()
    assert (other.get_weights()[0] == model.get_weights()[0]).all()
    assert (other.get_weights()[2] == before[2]).all()


@pytest.mark.parametrize("name", FORMATS)
def test_layers_can_be_matched_by_name(name, tmp_path):
    model, other = randomized(row(3, 4, 2)), row(3, 4, 7, names="xbc")
    model.save_weights(tmp_path / name)
    with pytest.raises(WeightsError, match=r"c\.kernel"):  # of that name, but of another shape
        other.load_weights(tmp_path / name, by_name=True)
    other = randomized(lamina.Sequential([L.Input((3,)), L.Dense(4, name="b"), L.Dense(9, name="new")]))
    kept = other.get_layer("new").get_weights()
    report = other.load_weights(tmp_path / name, by_name=True)
    assert sorted(report.restored) == ["b.bias", "b.kernel"] and sorted(report.missing) == ["new.bias", "new.kernel"]
    assert torch.equal(other.get_layer("b").kernel, model.get_layer("b").kernel)
    assert all((one == two).all() for one, two in zip(kept, other.get_layer("new").get_weights(), strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_weights_wait_for_a_model_that_is_not_built(name, tmp_path):
    model = randomized(row(3, 2))
    model.save_weights(tmp_path / name)
    (tmp_path / "moved").mkdir()
    late = row(3, 2, built=False)
    report = late.load_weights(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "moved" / name)  # the file is not needed any more
    assert report.waiting and report.restored == [] and "wait" in str(report)
    x = torch.randn(5, 4)
    assert torch.equal(late(x), model(x))
    second = row(3, 2, built=False)
    second.load_weights(tmp_path / "moved" / name)
    second.build((None, 4))
    assert torch.equal(second(x), model(x))


@pytest.mark.parametrize("name", FORMATS)
def test_weights_wait_for_the_first_call_of_a_subclassed_model(name, tmp_path):
    x = torch.randn(5, 4)
    model = Net()
    model(x)
    randomized(model)
    model.save_weights(tmp_path / name)
    late = Net()
    assert late.load_weights(tmp_path / name).waiting
    state = torch.get_rng_state()
    first = late(x)
    assert torch.equal(first, model(x)) and torch.equal(late(x), first)
    built = Net()
    built.build((None, 4))
    assert len(built.load_weights(tmp_path / name).restored) >= 8
    assert torch.equal(built(x), first) and state is not None
    trained = Net()
    trained.load_weights(tmp_path / name)
    trained.compile(lamina.optimizers.SGD(0.0), "mse")
    trained.fit(x, torch.zeros(5, 2), verbose=0)
    assert torch.equal(trained.first.kernel, model.first.kernel)


def test_weights_that_waited_and_do_not_fit_are_an_error_of_the_first_call(tmp_path):
    row(3, 2).save_weights(tmp_path / "w.weights.h5")
    late = row(3, 5, built=False)
    late.load_weights(tmp_path / "w.weights.h5")
    with pytest.raises(WeightsError, match="do not fit the model"):
        late(torch.randn(2, 4))


def test_a_keras_file_gives_its_weights_too(tmp_path):
    model, twin = randomized(row(3, 2)), row(3, 2)
    model.save(tmp_path / "m.keras")
    assert len(twin.load_weights(tmp_path / "m.keras").restored) == 4
    assert (twin.get_weights()[0] == model.get_weights()[0]).all()


class First(lamina.Model):
    """Keras keeps `out` under `layers`, which comes before it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = L.Dense(3), L.Dense(2)

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))


class Second(First):
    """The same layers, `last` under its own name."""

    def __init__(self) -> None:
        lamina.Model.__init__(self)
        self.hidden, self.last = L.Dense(3), L.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(self.hidden(x))


def test_a_layer_is_also_found_under_the_second_of_its_paths(tmp_path):
    x = torch.randn(3, 4)
    first, second = First(), Second()
    first(x), second(x)
    randomized(first).save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5") as file:
        assert set(file) == {"hidden", "layers", "vars"} and list(file["layers"]) == ["dense_1"]
    assert len(second.load_weights(tmp_path / "w.weights.h5").restored) == 4
    assert torch.equal(second(x), first(x))


def test_the_state_of_the_optimizer_is_kept_as_keras_does_and_left_alone(tmp_path):
    model = row(3, 2)
    model.compile(lamina.optimizers.Adam(0.01), "mse")
    model.fit(torch.ones(4, 4), torch.ones(4, 2), verbose=0)
    model.save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5") as file:
        assert len(file["optimizer/vars"]) == 2 + 8
    model.fit(torch.ones(4, 4), torch.ones(4, 2), verbose=0)
    model.load_weights(tmp_path / "w.weights.h5")
    assert model.optimizer.iterations == 2


def test_any_torch_module_can_be_written_in_keras_layout(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    lamina.saving.save_weights(module, tmp_path / "w.weights.h5")
    twin = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    report = load_weights(twin, tmp_path / "w.weights.h5")
    assert len(report.restored) == 7 and torch.equal(twin[0].weight, module[0].weight)


def test_files_of_another_layout_are_told_apart(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file["dense/dense/kernel:0"] = np.ones((4, 3), "float32")
        file["dense"].attrs["weight_names"] = [b"dense/kernel:0"]
    with pytest.raises(WeightsError, match="has 2 weights, not 1"):
        row(3).load_weights(tmp_path / "old.h5")  # read as Keras 2's, in which one of the weights is missing
    (tmp_path / "text.weights.h5").write_text("no")
    with pytest.raises(LoadError, match="cannot be read as HDF5"):
        row(3).load_weights(tmp_path / "text.weights.h5")
    np.savez(tmp_path / "o.npz", a=np.array([object()], dtype=object))
    with pytest.raises(LoadError, match=r"cannot be read as .npz"):
        row(3).load_weights(tmp_path / "o.npz")


def test_an_npz_file_cannot_unfold_to_far_more(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(30_000_000, "float32"))
    assert (tmp_path / "w.npz").stat().st_size < 1_000_000
    with pytest.raises(LoadError, match="unfolds to far more than it holds"):
        row(3).load_weights(tmp_path / "w.npz")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_are_kept(kind, tmp_path):
    model = row(3, 2).to(kind)
    randomized(model)
    for name in FORMATS:
        model.save_weights(tmp_path / name)
        twin = row(3, 2).to(kind)
        twin.load_weights(tmp_path / name)
        assert all(torch.equal(one, other) for one, other in zip(twin.weights, model.weights, strict=True))


def test_memory_layout_is_kept(tmp_path):
    model = row(3)
    strides = model.weights[0].stride()
    for name in FORMATS:
        model.save_weights(tmp_path / name)
        model.load_weights(tmp_path / name)
        assert model.weights[0].stride() == strides
