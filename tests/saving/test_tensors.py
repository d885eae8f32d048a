"""Weights in files: round trips, files that are not what they say, and weights that do not fit."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch

import lamina
from lamina import layers
from lamina.errors import ArgumentError, LoadError, NotBuiltError, WeightsError, WriteError
from lamina.saving import load_weights, save_weights

SUFFIXES = [".safetensors", ".npz", ".pt", ".pth"]


def network(units: int = 3, **arguments):
    """Weights whose memory is laid out otherwise than their shape, and buffers."""
    return lamina.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(units, name="dense"),
        ],
        **arguments,
    )


def randomize(module: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape))
            else:
                tensor.fill_(7)
    return module


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------------- round trips
class Tied(torch.nn.Module):
    """Two names for one weight."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 3)
        self.head = torch.nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


class Statistics(torch.nn.Module):
    """Buffers of several dtypes, one of which no file keeps."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("seen", torch.tensor([True, False]))
        self.register_buffer("empty", torch.zeros(0, 2))
        self.register_buffer("cache", torch.zeros(4), persistent=False)
        self.weight = torch.nn.Parameter(torch.randn(2, dtype=torch.float64))


MODULES = {
    "a model": network,
    "half precision": lambda: network().to(torch.bfloat16),
    "torch": lambda: torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.LSTM(4, 5)),
    "channels_last": lambda: torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last),
    "tied": Tied,
    "buffers": Statistics,
    "a layer with a torch module": lambda: lamina.Sequential([layers.Input((4,)), torch.nn.Linear(4, 2)]),
    "no weights": torch.nn.ReLU,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", MODULES)
def test_what_is_saved_is_loaded(kind, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    module, twin = randomize(MODULES[kind]()), MODULES[kind]()
    strides = {name: tensor.stride() for name, tensor in twin.state_dict().items()}
    save_weights(module, path)
    assert os.listdir(tmp_path) == [path.name]
    load_weights(twin, str(path))
    assert same(snapshot(module), snapshot(twin))
    assert {name: tensor.stride() for name, tensor in twin.state_dict().items()} == strides
    assert all(t.dtype == twin.state_dict()[name].dtype for name, t in module.state_dict().items())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_loaded_model_computes_the_same(suffix, tmp_path):
    model, twin = network(), network()
    x = torch.randn(2, 8, 8, 2)
    with torch.no_grad():
        assert not torch.allclose(model(x), twin(x))
        model.save_weights(tmp_path / f"w{suffix}")
        twin.load_weights(tmp_path / f"w{suffix}")
        assert torch.equal(model(x), twin(x))


def test_other_programs_read_keras_shapes_from_the_files(tmp_path):
    model = network()
    save_weights(model, tmp_path / "w.safetensors")
    save_weights(model, tmp_path / "w.pt")
    for found in (safetensors.torch.load_file(tmp_path / "w.safetensors"), torch.load(tmp_path / "w.pt")):
        assert found["conv.kernel"].shape == (3, 3, 2, 4) and found["conv.kernel"].is_contiguous()
        np.testing.assert_array_equal(found["conv.kernel"].numpy(), model.get_weights()[0])


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_that_torch_saved_is_loaded(legacy, tmp_path):
    model, twin = randomize(network()), network()
    torch.save(model.state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    load_weights(twin, tmp_path / "w.pt")
    assert same(snapshot(model), snapshot(twin))


def test_a_buffer_that_is_not_persistent_is_in_no_file(tmp_path):
    save_weights(Statistics(), tmp_path / "w.safetensors")
    assert set(safetensors.torch.load_file(tmp_path / "w.safetensors")) == {"count", "seen", "empty", "weight"}


def test_tied_weights_stay_tied(tmp_path):
    module = Tied()
    save_weights(randomize(Tied()), tmp_path / "w.safetensors")
    load_weights(module, tmp_path / "w.safetensors")
    assert module.head.weight is module.embedding.weight


def test_saving_changes_nothing_in_the_model(tmp_path):
    model = randomize(network())
    model.train()
    before, strides = snapshot(model), [tensor.stride() for tensor in model.state_dict().values()]
    for suffix in SUFFIXES:
        save_weights(model, tmp_path / f"w{suffix}")
    assert same(before, snapshot(model)) and model.training
    assert strides == [tensor.stride() for tensor in model.state_dict().values()]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_loaded_weight_does_not_lean_on_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    model = network()
    save_weights(randomize(network()), path)
    load_weights(model, path)
    before = snapshot(model)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert same(before, snapshot(model))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_numbers_of_another_precision_are_converted(suffix, tmp_path):
    save_weights(torch.nn.Linear(2, 1).double(), tmp_path / f"w{suffix}")
    module = torch.nn.Linear(2, 1)
    load_weights(module, tmp_path / f"w{suffix}")
    assert module.weight.dtype == torch.float32


# ---------------------------------------------------------------------- writing
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_may_be_replaced_unless_that_is_refused(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    save_weights(network(), path)
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="is there already") as caught:
        save_weights(network(), path, overwrite=False)
    assert caught.value.fix == "pass overwrite=True" and path.read_bytes() == before
    model, twin = randomize(network()), network()
    save_weights(model, path)
    load_weights(twin, path)
    assert same(snapshot(model), snapshot(twin))
    save_weights(model, tmp_path / f"other{suffix}", overwrite=False)


@pytest.mark.parametrize(
    ("action", "name"),
    [(action, name) for action in (save_weights, load_weights) for name in ("w", "w.PT", ".pt", ".npz", "")]
    + [(save_weights, "w.keras")],
)
def test_a_name_that_says_no_format_is_refused(action, name, tmp_path):
    with pytest.raises(ArgumentError, match="The name of a file of weights says its format"):
        action(network(), tmp_path / name if name else "")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_folder_is_an_os_error_that_names_it(suffix, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"There is no such folder: '{tmp_path / 'missing'}'"):
        save_weights(network(), tmp_path / "missing" / f"w{suffix}")
    assert os.listdir(tmp_path) == []


FULL = [RuntimeError("[enforce fail] unexpected pos\nat line 3"), OSError(28, "No space left")]
WRITERS = [(".safetensors", "safetensors.torch.save_file"), (".pt", "torch.save")]


@pytest.mark.parametrize(("suffix", "function"), WRITERS)
@pytest.mark.parametrize("error", FULL)
def test_a_disk_that_is_full_leaves_the_old_file(suffix, function, error, tmp_path, monkeypatch):
    path = tmp_path / f"w{suffix}"
    save_weights(network(), path)
    before = path.read_bytes()

    def fail(tensors, part):
        part.write_bytes(b"half")
        raise error

    monkeypatch.setattr(function, fail)
    with pytest.raises(
        WriteError, match=r"(?s)w\.\w+ cannot be written.*(No space left|\[enforce fail\] unexpected pos\n).*free"
    ):
        save_weights(network(), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_weights_is_readable_for_others(suffix, tmp_path):
    plain, path = tmp_path / "plain", tmp_path / f"w{suffix}"
    plain.touch()
    save_weights(network(), path)
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_model_that_is_not_built_has_nothing_to_save(tmp_path):
    for module in (lamina.Sequential([layers.Dense(2)]), torch.nn.LazyLinear(2)):
        with pytest.raises(NotBuiltError, match="is not built, so it has no weights to save"):
            save_weights(module, tmp_path / "w.pt")
    assert os.listdir(tmp_path) == []


class WithExtraState(torch.nn.Linear):
    def get_extra_state(self):
        return {"steps": 3}

    def set_extra_state(self, state):
        raise AssertionError("nothing may be changed")


@pytest.mark.parametrize("action", [save_weights, load_weights])
def test_a_state_that_is_no_tensor_is_refused(action, tmp_path):
    save_weights(torch.nn.Linear(2, 1), tmp_path / "w.pt")
    before = (tmp_path / "w.pt").read_bytes()
    with pytest.raises(ArgumentError, match="The state of WithExtraState holds more than tensors") as caught:
        action(WithExtraState(2, 1), tmp_path / "w.pt")
    assert caught.value.received == "_extra_state of type dict"
    assert (tmp_path / "w.pt").read_bytes() == before


# ---------------------------------------------------------------------- files that are not what they say
def expect_unread(path, match="cannot be read as"):
    """Loading `path` fails, in few words, and changes nothing."""
    model = network()
    before = snapshot(model)
    with pytest.raises(LoadError, match=match) as caught:
        load_weights(model, path)
    assert same(before, snapshot(model))
    assert "\n" not in caught.value.received and "\x1b" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    return caught.value


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "w.pt", tmp_path / "missing" / "w.safetensors"):
        assert str(path) in str(expect_unread(path, "no such file"))
    (tmp_path / "folder.pt").mkdir()
    expect_unread(tmp_path / "folder.pt", "no such file")


GARBAGE = [b"", b"\0", b"garbage" * 99, b"PK\x03\x04" + b"\0" * 99, b"\x80\x02}q\0.", b"\xff" * 64]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_not_read(content, suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    expect_unread(path, "cannot be read as|holds no state_dict|do not fit")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_not_read(share, suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    save_weights(network(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    expect_unread(path)


@pytest.mark.parametrize(("name", "other"), [("w.pt", "w.safetensors"), ("w.safetensors", "w.pt")])
def test_a_file_of_the_other_format_is_not_read(name, other, tmp_path):
    save_weights(network(), tmp_path / name)
    (tmp_path / name).rename(tmp_path / other)
    expect_unread(tmp_path / other)


class Trap:
    """Writes a file when it is unpickled by whoever runs what it is told to."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_a_file_is_run(legacy, tmp_path):
    sprung = tmp_path / "sprung"
    content = {"dense.kernel": torch.zeros(2), "trap": Trap(sprung)}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    error = expect_unread(tmp_path / "w.pt")
    assert error.received in ("posix.mkdir", "nt.mkdir")
    assert not sprung.exists()
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert sprung.exists(), "the trap is no trap"


def test_a_whole_model_is_not_read(tmp_path):
    torch.save(torch.nn.Linear(2, 1), tmp_path / "w.pt")
    assert "save its weights" in expect_unread(tmp_path / "w.pt").fix


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ([torch.zeros(2)], "list"),
        (torch.zeros(2), "Tensor"),
        (3, "int"),
        (None, "NoneType"),
        ({"model": {"dense.kernel": torch.zeros(2)}, "epoch": 3}, "'model' of type dict"),
        (OrderedDict(epoch=3), "'epoch' of type int"),
        ({0: torch.zeros(2), "a": torch.zeros(2)}, "0 of type Tensor (torch.strided)"),
    ],
)
def test_content_that_is_no_state_dict_is_described(content, received, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    assert expect_unread(tmp_path / "w.pt", "holds no state_dict").received == received


ODD = {
    "sparse": lambda: torch.ones(2).to_sparse(),
    "csr": lambda: torch.ones(2, 2).to_sparse_csr(),
    "meta": lambda: torch.empty(2, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("kind", ODD)
def test_tensors_without_a_number_for_each_place_are_refused_before_any_is_copied(kind, tmp_path):
    module = torch.nn.Linear(3, 2)
    before = snapshot(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's about prototypes
        torch.save({"weight": torch.ones(2, 3), "bias": ODD[kind]()}, tmp_path / "w.pt")
    with pytest.raises(LoadError, match="holds no state_dict"):
        load_weights(module, tmp_path / "w.pt")
    assert same(before, snapshot(module))


def test_a_small_file_that_unfolds_to_a_large_one_is_refused(tmp_path):
    save_weights(network(), tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as good,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in good.infolist():
            large = member.filename.endswith("data/0")
            bomb.writestr(member.filename, bytes(10_000_000) if large else good.read(member))
    assert (tmp_path / "bomb.pt").stat().st_size < 100_000
    expect_unread(tmp_path / "bomb.pt", "is compressed, as no file of torch is")


def test_a_tensor_that_claims_to_be_huge_takes_no_memory(tmp_path):
    huge = torch.ones(1).as_strided((10**7, 10**7), (0, 0))
    torch.save({"weight": huge, "bias": torch.ones(2)}, tmp_path / "w.pt")
    assert (tmp_path / "w.pt").stat().st_size < 10_000
    with pytest.raises(WeightsError, match=r"weight of shape \(10000000, 10000000\)"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "w.pt")


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path):
    header = b'{"dense.kernel":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    expect_unread(tmp_path / "w.safetensors")


# ---------------------------------------------------------------------- weights that do not fit
def expect_misfit(module, content, path, *words):
    """The weights in `content` are refused with all of these words, and nothing changes."""
    before = snapshot(module)
    torch.save(content, path)
    with pytest.raises(WeightsError, match="do not fit the model") as caught:
        load_weights(module, path)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert same(before, snapshot(module))
    return caught.value


def test_missing_and_extra_weights_are_named(tmp_path):
    path = tmp_path / "w.pt"
    good = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    linear = torch.nn.Linear(3, 2)
    expect_misfit(linear, {"weight": good["weight"]}, path, "expected: bias (2,)", "received: no bias")
    expect_misfit(linear, {**good, "scale": torch.ones(1)}, path, "expected: 2 weights", "scale, which the model lacks")
    expect_misfit(linear, {}, path, "no bias; no weight")
    renamed = {"kernel": good["weight"], "bias": good["bias"]}
    expect_misfit(linear, renamed, path, "no weight; kernel, which the model lacks")


def test_a_wrong_shape_is_named_and_nothing_changes(tmp_path):
    content = {"weight": torch.ones(2, 3), "bias": torch.ones(3)}
    expect_misfit(torch.nn.Linear(3, 2), content, tmp_path / "w.pt", "expected: bias (2,)", "bias of shape (3,)")
    transposed = {"weight": torch.ones(3, 2), "bias": torch.ones(2)}
    expect_misfit(torch.nn.Linear(3, 2), transposed, tmp_path / "w.pt", "weight of shape (3, 2)")
    scalar = {"weight": torch.ones(2, 3), "bias": torch.tensor(1.0)}
    expect_misfit(torch.nn.Linear(3, 2), scalar, tmp_path / "w.pt", "bias of shape ()")


def test_numbers_that_a_weight_cannot_hold_are_named(tmp_path):
    content = {"weight": torch.ones(2, 3), "bias": torch.ones(2, dtype=torch.complex64)}
    expect_misfit(torch.nn.Linear(3, 2), content, tmp_path / "w.pt", "bias of shape (2,), torch.complex64")
    good = Statistics().state_dict()
    expect_misfit(
        Statistics(), {**good, "count": torch.tensor(2.5)}, tmp_path / "w.pt", "count of shape (), torch.float32"
    )


def test_of_many_misfits_the_first_are_shown(tmp_path):
    error = expect_misfit(network(), {f"x{i}": torch.ones(1) for i in range(50)}, tmp_path / "w.pt")
    assert error.received.count("which the model lacks") == 3 and len(str(error)) < 500


def test_weights_of_another_architecture_change_nothing(tmp_path):
    wide, narrow = network(5), network(3)
    wide.save_weights(tmp_path / "w.safetensors")
    before = snapshot(narrow)
    with pytest.raises(WeightsError, match=r"expected: dense.bias \(3,\), dense.kernel \(144, 3\)"):
        narrow.load_weights(tmp_path / "w.safetensors")
    assert same(before, snapshot(narrow))


def test_a_lazy_module_is_told_to_make_its_weights_first(tmp_path):
    network().save_weights(tmp_path / "w.pt")
    with pytest.raises(NotBuiltError, match="has no weights to load"):
        load_weights(torch.nn.LazyLinear(2), tmp_path / "w.pt")
