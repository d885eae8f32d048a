"""Weights of torch networks in lamina models: the same outputs as the torch network has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lamina
from lamina import layers as L
from lamina import naming
from lamina.errors import ArgumentError, LoadError, NotBuiltError, WeightsError
from lamina.saving import load_torch_weights
from suite import keras_networks, torch_networks
from suite.workloads import WORKLOADS

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def settled(network: nn.Module) -> nn.Module:
    """The network with weights and statistics that are nowhere those of a new layer."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith(("running_var", "moving_variance")) or tensor.dim() == 1 and name.endswith("weight"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and tensor.dim() == 1:
                tensor.uniform_(-0.3, 0.3)
            elif tensor.is_floating_point() and name.endswith("weight"):
                tensor.mul_(2.0)  # so that outputs depend on the data behind several sigmoids
    return network.eval()


def model_of(*stack: Any, shape: tuple[Any, ...]) -> Any:
    x = inputs = L.Input(shape)
    for layer in stack:
        x = layer(x)
    model = lamina.Model(inputs, x)
    model.eval()
    return model


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def last(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1)


# ---------------------------------------------------------------------- whole networks
PAIRS = ((L.Conv2D, nn.Conv2d), (L.BatchNormalization, nn.BatchNorm2d), (L.LSTM, nn.LSTM), (L.Dense, nn.Linear))


def mapped(model: Any, network: nn.Module, prefixes: list[str]) -> dict[str, str]:
    """Layers of each kind, by the numbers in their names, beside torch's of that kind in the order of `prefixes`."""
    found: dict[str, str] = {}
    for kind, module in PAIRS:
        stem = naming.snake_case(kind.__name__)
        numbers = {layer.name: layer.name.removeprefix(stem) for layer in model.layers if isinstance(layer, kind)}
        mine = sorted(numbers, key=lambda name: int(numbers[name].strip("_") or -1))
        theirs = [prefix for prefix in prefixes if isinstance(network.get_submodule(prefix), module)]
        found.update(zip(mine, theirs, strict=True))
    return found


def resnet_prefixes() -> list[str]:
    """In the order in which the functional model calls them."""
    found = ["0", "1"]
    for block in range(3, 9):
        found += [f"{block}.body.{place}" for place in (0, 1, 3, 4)]
        found += [f"{block}.shortcut.0", f"{block}.shortcut.1"] if block in (5, 7) else []
    return [*found, "11"]


def padded_as_keras(network: nn.Module) -> nn.Module:
    """Strided convolutions that pad the far side, and Keras's epsilon."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.stride == (2, 2):
            part.padding = (0, 0)
            part.register_forward_pre_hook(lambda _, given: F.pad(given[0], (0, 1, 0, 1)))
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-3
    return network


PREFIXES = {
    "mlp": ["0", "2", "4", "6"],
    "lenet": ["0", "3", "7", "9", "11"],
    "lstm": ["0.lstm", "1", "3"],
    "two_towers": ["grey.0", "grey.3", "color.0", "color.3", "top.0", "top.2", "top.4"],
    "resnet": resnet_prefixes(),
}


@pytest.mark.parametrize("name", list(PREFIXES))
def test_the_benchmarks_networks_give_what_torchs_give(name):
    naming.reset_names()
    network, model = padded_as_keras(settled(torch_networks.NETWORKS[name]())), keras_networks.NETWORKS[name](lamina)
    model.eval()
    report = load_torch_weights(model, network.state_dict(), mapped(model, network, PREFIXES[name]))
    assert not report.missing and not report.skipped
    given = [torch.rand(3, *shape) for shape in WORKLOADS[name].inputs]
    expected = network(*[x.movedim(-1, 1) if x.dim() == 4 else x for x in given]).softmax(-1)
    assert expected.std(0).max() > 1e-4
    torch.testing.assert_close(model(given if len(given) > 1 else given[0]), expected, **CLOSE)


class Block(nn.Module):
    """A residual block under torchvision's names."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
        self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.downsample(x)).relu()


class SmallResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(Block(4, 6))
        self.fc = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer1(self.bn1(self.conv1(x)).relu()).mean((2, 3)))


def small_resnet() -> Any:
    def normalized(x: Any, filters: int, size: int, conv: str, bn: str) -> Any:
        y = L.Conv2D(filters, size, padding="same", use_bias=False, name=conv)(x)
        return L.BatchNormalization(epsilon=1e-5, name=bn)(y)

    inputs = L.Input((None, None, 3))
    x = L.ReLU()(normalized(inputs, 4, 3, "conv1", "bn1"))
    y = L.ReLU()(normalized(x, 6, 3, "layer1_0_conv1", "layer1_0_bn1"))
    y = normalized(y, 6, 3, "layer1_0_conv2", "layer1_0_bn2")
    x = L.ReLU()(L.Add()([y, normalized(x, 6, 1, "layer1_0_downsample_0", "layer1_0_downsample_1")]))
    model = lamina.Model(inputs, L.Dense(5, name="fc")(L.GlobalAveragePooling2D()(x)))
    model.eval()
    return model


@pytest.mark.parametrize("suffix", [None, ".pt", ".pth", ".safetensors", ".npz"])
def test_names_with_underscores_find_torchvisions_names_with_dots(suffix, tmp_path):
    network, model, source = settled(SmallResNet()), small_resnet(), None
    if suffix:
        source = tmp_path / f"net{suffix}"
        lamina.saving.save_weights(network, source)
    report = load_torch_weights(model, source or network.state_dict())
    assert not report.missing and not report.skipped and "layer1_0_downsample_0.kernel" in report.restored
    x = torch.rand(2, 3, 8, 9)
    torch.testing.assert_close(model(last(x)), network(x), **CLOSE)


# ---------------------------------------------------------------------- each kind alone
LAST, SAME = (last, last), (lambda x: x, lambda x: x)
FIRST = (SAME[0], lambda y: y[0])
KINDS = {
    "dense": (lambda: L.Dense(5), lambda: nn.Linear(3, 5), (3,), SAME),
    "dense without bias": (lambda: L.Dense(5, use_bias=False), lambda: nn.Linear(3, 5, bias=False), (3,), SAME),
    "conv1d": (lambda: L.Conv1D(4, 3), lambda: nn.Conv1d(3, 4, 3), (3, 9), LAST),
    "conv2d": (lambda: L.Conv2D(4, (3, 2)), lambda: nn.Conv2d(3, 4, (3, 2)), (3, 9, 8), LAST),
    "conv3d": (lambda: L.Conv3D(4, (3, 2, 1)), lambda: nn.Conv3d(3, 4, (3, 2, 1)), (3, 5, 4, 3), LAST),
    "groups": (lambda: L.Conv2D(6, 3, groups=2), lambda: nn.Conv2d(4, 6, 3, groups=2), (4, 7, 8), LAST),
    "transposed1d": (lambda: L.Conv1DTranspose(4, 3), lambda: nn.ConvTranspose1d(3, 4, 3), (3, 9), LAST),
    "transposed2d": (lambda: L.Conv2DTranspose(4, (3, 2)), lambda: nn.ConvTranspose2d(3, 4, (3, 2)), (3, 5, 6), LAST),
    "transposed3d": (lambda: L.Conv3DTranspose(4, 2), lambda: nn.ConvTranspose3d(3, 4, 2), (3, 3, 4, 5), LAST),
    "depthwise1d": (
        lambda: L.DepthwiseConv1D(3, depth_multiplier=2),
        lambda: nn.Conv1d(3, 6, 3, groups=3),
        (3, 9),
        LAST,
    ),
    "depthwise2d": (
        lambda: L.DepthwiseConv2D((3, 2), depth_multiplier=2),
        lambda: nn.Conv2d(3, 6, (3, 2), groups=3),
        (3, 9, 8),
        LAST,
    ),
    "batch": (lambda: L.BatchNormalization(epsilon=1e-5), lambda: nn.BatchNorm2d(3), (3, 4, 5), LAST),
    "renorm": (lambda: L.BatchNormalization(epsilon=1e-5, renorm=True), lambda: nn.BatchNorm2d(3), (3, 4, 5), LAST),
    "layer": (lambda: L.LayerNormalization(epsilon=1e-5), lambda: nn.LayerNorm(3), (4, 3), SAME),
    "layer of two axes": (
        lambda: L.LayerNormalization(axis=(1, 2), epsilon=1e-5),
        lambda: nn.LayerNorm((4, 3)),
        (4, 3),
        SAME,
    ),
    "group": (lambda: L.GroupNormalization(2, epsilon=1e-5), lambda: nn.GroupNorm(2, 4), (4, 5, 6), LAST),
    "rms": (lambda: L.RMSNormalization(epsilon=1e-5), lambda: nn.RMSNorm(3, eps=1e-5), (4, 3), SAME),
    "prelu": (lambda: L.PReLU(shared_axes=[1, 2]), lambda: nn.PReLU(3), (3, 4, 5), LAST),
    "prelu of one": (lambda: L.PReLU(), lambda: nn.PReLU(), (3, 4, 5), LAST),
    "lstm": (lambda: L.LSTM(4, return_sequences=True), lambda: nn.LSTM(3, 4, batch_first=True), (6, 3), FIRST),
    "lstm without bias": (
        lambda: L.LSTM(4, use_bias=False, return_sequences=True),
        lambda: nn.LSTM(3, 4, batch_first=True, bias=False),
        (6, 3),
        FIRST,
    ),
    "gru": (lambda: L.GRU(4, return_sequences=True), lambda: nn.GRU(3, 4, batch_first=True), (6, 3), FIRST),
    "rnn": (lambda: L.SimpleRNN(4, return_sequences=True), lambda: nn.RNN(3, 4, batch_first=True), (6, 3), FIRST),
    "both ways": (
        lambda: L.Bidirectional(L.LSTM(4, return_sequences=True)),
        lambda: nn.LSTM(3, 4, batch_first=True, bidirectional=True),
        (6, 3),
        FIRST,
    ),
    "gru both ways": (
        lambda: L.Bidirectional(L.GRU(4, return_sequences=True)),
        lambda: nn.GRU(3, 4, batch_first=True, bidirectional=True),
        (6, 3),
        FIRST,
    ),
    "torch's own": (lambda: nn.Conv2d(3, 4, 3), lambda: nn.Conv2d(3, 4, 3), (3, 6, 7), SAME),
}


@pytest.mark.parametrize("name", list(KINDS))
def test_each_kind_of_layer_computes_what_torchs_does(name):
    make, make_torch, shape, (enter, leave) = KINDS[name]
    module, x = settled(make_torch()), torch.randn(2, *shape)
    model = model_of(make(), shape=tuple(enter(x).shape[1:]))
    path = model.layers[-1].name
    network = nn.Sequential()
    network.add_module("theirs", module)
    report = load_torch_weights(model, network.state_dict(), {path: "theirs"})
    assert not report.missing and not report.skipped
    torch.testing.assert_close(model(enter(x)), leave(module(x)), **CLOSE)


def test_an_embedding_and_a_separable_convolution_compute_what_torchs_do():
    table, model = nn.Embedding(7, 3), model_of(L.Embedding(7, 3, name="table"), shape=(4,))
    load_torch_weights(model, table.state_dict(), {"table": ""})
    x = torch.randint(0, 7, (2, 4))
    assert torch.equal(model(x), table(x))

    pair = nn.Sequential()
    pair.add_module("depthwise", nn.Conv2d(3, 6, 3, groups=3, bias=False))
    pair.add_module("pointwise", nn.Conv2d(6, 5, 1))
    model = model_of(L.SeparableConv2D(5, 3, depth_multiplier=2, name="s"), shape=(6, 7, 3))
    load_torch_weights(model, pair.state_dict(), lambda name: "")
    x = torch.randn(2, 3, 6, 7)
    torch.testing.assert_close(model(last(x)), last(pair(x)), **CLOSE)


def test_a_cell_and_a_layer_without_a_model_take_torchs_weights():
    theirs, cell = nn.GRUCell(3, 4), L.GRUCell(4)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    cell(x, [h])
    load_torch_weights(cell, theirs.state_dict())
    torch.testing.assert_close(cell(x, [h])[0], theirs(x, h), **CLOSE)


# ---------------------------------------------------------------------- flattened images
STACKS = {
    "flatten": lambda: [L.Flatten()],
    "activation and dropout": lambda: [L.Flatten(), L.Dropout(0.5), L.Activation("tanh")],
    "normalization": lambda: [L.Flatten(), L.BatchNormalization(epsilon=1e-5, name="bn")],
}
TORCH_STACKS = {
    "flatten": list,
    "activation and dropout": lambda: [nn.Dropout(0.5), nn.Tanh()],
    "normalization": lambda: [nn.BatchNorm1d(40)],
}


@pytest.mark.parametrize("name", list(STACKS))
@pytest.mark.parametrize("rank", [1, 2])
def test_a_dense_behind_flattened_images_has_its_rows_put_in_order(name, rank):
    conv, kind, shape = ((nn.Conv1d, L.Conv1D, (3, 12)), (nn.Conv2d, L.Conv2D, (3, 7, 4)))[rank - 1]
    channels = 4
    network = settled(nn.Sequential(conv(3, channels, 3), nn.Flatten(), *TORCH_STACKS[name](), nn.Linear(40, 5)))
    model = lamina.Sequential(
        [L.Input((*shape[1:], 3)), kind(channels, 3, name="conv"), *STACKS[name](), L.Dense(5, name="fc")]
    )
    model.eval()
    load_torch_weights(
        model,
        network.state_dict(),
        {"conv": "0", "fc": str(len(network) - 1)} | ({"bn": "2"} if name == "normalization" else {}),
    )
    x = torch.randn(2, *shape)
    torch.testing.assert_close(model(last(x)), network(x), **CLOSE)


def test_the_steps_of_a_sequence_are_flattened_alike_in_both():
    network = nn.ModuleDict({"table": nn.Embedding(7, 3), "fc": nn.Linear(12, 2)})
    model = model_of(L.Embedding(7, 3, name="table"), L.Flatten(), L.Dense(2, name="fc"), shape=(4,))
    load_torch_weights(model, network.state_dict())
    x = torch.randint(0, 7, (5, 4))
    torch.testing.assert_close(model(x), network["fc"](network["table"](x).flatten(1)), **CLOSE)


# ---------------------------------------------------------------------- there and back
def everything() -> Any:
    image, words = L.Input((8, 8, 3)), L.Input((5,), dtype="int32")
    x = L.BatchNormalization(name="bn")(L.Conv2D(4, 3, name="conv")(image))
    x = L.SeparableConv2D(4, 3, name="sep")(L.PReLU(shared_axes=[1, 2], name="prelu")(x))
    x = L.Dense(6, name="fc_1")(L.Flatten()(L.DepthwiseConv2D(2, name="depth")(x)))
    y = L.Bidirectional(L.GRU(3, return_sequences=True), name="both")(L.Embedding(9, 4, name="table")(words))
    y = L.LSTM(4, name="lstm")(L.TimeDistributed(L.Dense(5, name="inner"), name="each")(y))
    y = L.LayerNormalization(center=False, name="norm")(L.PReLU(name="leak")(y))
    y = lamina.Sequential([L.Input((4,)), L.Dense(3, name="d"), nn.Linear(3, 3)], name="nested")(y)
    model = lamina.Model([image, words], L.Dense(2, name="head")(L.Concatenate()([x, y])))
    model.eval()
    return model


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_state_of_to_torch_loads_back_without_a_mapping(data_format):
    model, other = settled(everything()), everything()
    x = [torch.rand(2, 8, 8, 3), torch.randint(0, 9, (2, 5), dtype=torch.int32)]
    assert (model(x) - other(x)).abs().max() > 1e-3
    report = load_torch_weights(other, model.to_torch(data_format).state_dict(), data_format=data_format)
    assert not report.missing and not report.skipped
    torch.testing.assert_close(other(x), model(x), **CLOSE)


def test_a_subclass_takes_weights_by_the_paths_of_its_layers():
    class Net(lamina.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = L.Dense(4, name="same"), [L.Dense(4, name="same"), L.Dense(2, name="end")]

        def call(self, x: Any) -> Any:
            return self.rest[1](self.rest[0](self.first(x)))

    network, model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)), Net(), torch.rand(2, 3)
    model(x)
    paths = [name.removesuffix(".kernel") for name in model.state_dict() if name.endswith(".kernel")]
    load_torch_weights(model, network.state_dict(), dict(zip(paths, "012", strict=True)))
    torch.testing.assert_close(model(x), network(x), **CLOSE)


def test_a_compiled_model_with_seeds_takes_its_weights():
    model = model_of(L.Dropout(0.5, seed=1), L.Dense(2, name="fc"), shape=(3,))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(torch.rand(4, 3), torch.rand(4, 2), verbose=0)
    report = load_torch_weights(model, {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)})
    assert report.restored == ["fc.kernel", "fc.bias"] and not report.missing


# ---------------------------------------------------------------------- what does not fit
def pair() -> Any:
    return model_of(L.Dense(4, name="fc1"), L.Dense(2, name="fc2"), shape=(3,))


def pair_state(units: int = 4) -> dict[str, torch.Tensor]:
    network = nn.ModuleDict({"first": nn.Linear(3, units), "second": nn.Linear(units, 2)})
    return dict(network.state_dict())


def test_a_prefix_that_is_not_there_is_answered_with_a_near_one():
    model = pair()
    before = state_of(model)
    with pytest.raises(WeightsError) as caught:
        load_torch_weights(model, pair_state(), {"fc1": "first", "fc2": "secnd"})
    assert "'fc2'" in str(caught.value) and "'secnd'" in str(caught.value) and "'second'" in caught.value.fix
    assert_unchanged(model, before)


def test_a_layer_that_the_model_lacks_is_answered_with_a_near_one():
    with pytest.raises(ArgumentError, match="use 'fc1'"):
        load_torch_weights(pair(), pair_state(), {"fc_1": "first"})


def test_another_shape_is_an_error_that_names_layer_prefix_and_shapes_and_changes_nothing():
    model = pair()
    before = state_of(model)
    with pytest.raises(WeightsError) as caught:
        load_torch_weights(model, pair_state(5), {"fc1": "first", "fc2": "second"})
    for word in ("'fc1'", "first.weight of shape (4, 3)", "first.weight of shape (5, 3)", "2 more", "skip_mismatch"):
        assert word in str(caught.value)
    assert_unchanged(model, before)


def test_skip_mismatch_loads_what_fits(caplog):
    model, state = pair(), pair_state(5)
    before = state_of(model)
    report = load_torch_weights(model, state, {"fc1": "first", "fc2": "second"}, skip_mismatch=True)
    assert report.restored == ["fc2.bias"] and sorted(report.missing) == ["fc1.bias", "fc1.kernel", "fc2.kernel"]
    assert any("first.weight" in line for line in report.skipped) and "skipped" in caplog.text
    assert torch.equal(model.layers[-1].bias, state["second.bias"])
    assert torch.equal(model.layers[1].kernel, before["fc1.kernel"])


def test_none_leaves_a_layer_alone_and_what_is_left_over_is_reported():
    model, state = pair(), pair_state()
    before = state_of(model)
    report = load_torch_weights(model, state, {"fc1": "first", "fc2": None})
    assert report.skipped == ["second.bias", "second.weight"] and len(report.restored) == 2
    assert torch.equal(model.layers[-1].kernel, before["fc2.kernel"])
    assert torch.equal(model.layers[1].kernel, state["first.weight"].T)


def test_a_bias_for_which_there_is_no_weight_is_not_passed_over():
    model = model_of(L.Dense(2, use_bias=False, name="fc"), shape=(3,))
    with pytest.raises(WeightsError, match="no fc.bias"):
        load_torch_weights(model, {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)})
    load_torch_weights(model, {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)})
    stacked = model_of(L.LSTM(2, name="lstm"), shape=(4, 3))
    with pytest.raises(WeightsError, match="l1"):
        load_torch_weights(stacked, nn.LSTM(3, 2, 2).state_dict(), {"lstm": ""})


def test_what_torch_computes_otherwise_is_refused():
    model = model_of(L.GRU(2, reset_after=False, name="gru"), shape=(4, 3))
    with pytest.raises(WeightsError, match="reset_after=True"):
        load_torch_weights(model, nn.GRU(3, 2).state_dict(), {"gru": ""})


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="data format"):
        load_torch_weights(pair(), pair_state(), data_format="nhwc")
    with pytest.raises(ArgumentError, match="tensors by name"):
        load_torch_weights(pair(), nn.Linear(3, 4))
    with pytest.raises(LoadError, match="no such file"):
        load_torch_weights(pair(), tmp_path / "net.pt")
    with pytest.raises(NotBuiltError):
        load_torch_weights(lamina.Sequential([L.Dense(2)]), pair_state())
