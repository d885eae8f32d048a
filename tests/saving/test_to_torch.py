"""A model as a plain torch module: the same numbers and gradients, torch's names, no lamina in it."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from typing import Any

import pytest
import reference_models as references
import torch
from torch import nn

import lamina
from lamina import layers as L
from lamina.errors import ArgumentError, ExportError, NotBuiltError
from lamina.saving import to_torch

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NAMES = list(references.REFERENCES)


def assert_same(found: Any, expected: Any) -> None:
    found, expected = references.flat(found), references.flat(expected)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.dtype is other.dtype
        torch.testing.assert_close(one, other, **CLOSE)


def model_of(*stack: Any, shape: tuple[Any, ...] = (4,), dtype: str | None = None) -> Any:
    x = inputs = L.Input(shape, dtype=dtype, name="x")
    for layer in stack:
        x = layer(x)
    return lamina.Model(inputs, x)


# ---------------------------------------------------------------------- the same numbers
@pytest.mark.parametrize("name", NAMES)
def test_a_module_gives_what_the_model_gives(name):
    model = references.settled(name)
    module = model.to_torch()
    for data in references.batches(name):
        expected = model(data)
        assert_same(module(*references.flat(data)), expected)
        assert all(t.std() > 1e-4 for t in references.flat(expected) if t.numel() > 1)  # it depends on the data


def test_the_outputs_have_the_models_form_and_inputs_go_by_name():
    model, data = references.settled("several"), references.batches("several")[1]
    found = model.to_torch()(age=data["age"], image=data["image"])
    assert list(found) == ["class", "score"]
    assert_same(found, model(data))


@pytest.mark.parametrize("name", ["lenet", "cnn", "resnet", "encoder_decoder"])
def test_a_module_may_take_and_give_images_with_the_channels_first(name):
    model = references.settled(name)
    module = model.to_torch(data_format="channels_first")
    for data in references.batches(name):
        expected = model(data)
        if expected.dim() == 4:
            expected = expected.permute(0, 3, 1, 2)
        assert_same(module(data.permute(0, 3, 1, 2)), expected)
    # LayerNormalization is over the last axis, in torch too.
    assert module.code.count("permute(") == (2 if name == "encoder_decoder" else 0)


def test_a_model_that_has_the_channels_first_is_not_turned():
    model = model_of(
        L.Conv2D(4, 3, data_format="channels_first"), L.GlobalMaxPooling2D("channels_first"), shape=(3, 8, 9)
    )
    x = torch.randn(2, 3, 8, 9)
    for data_format in ("channels_last", "channels_first"):
        assert_same(model.to_torch(data_format=data_format)(x), model(x))
    mixed = model_of(L.Conv2D(4, 3, data_format="channels_first"), L.MaxPooling2D(), shape=(3, 8, 9))
    with pytest.raises(ArgumentError, match="some first"):
        mixed.to_torch(data_format="channels_first")


class LeNet(nn.Module):
    """What a user of torch would write."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3)
        self.fc1, self.fc2 = nn.Linear(24, 10), nn.Linear(10, 5)

    def forward(self, x):
        x = nn.functional.avg_pool2d(torch.tanh(self.conv1(x)), 2)
        x = nn.functional.max_pool2d(torch.tanh(self.conv2(x)), 2)
        return self.fc2(torch.tanh(self.fc1(x.flatten(1)))).softmax(-1)


def test_the_weights_fit_a_network_written_in_torch():
    model, data = references.settled("lenet"), references.batches("lenet")[1]
    network = LeNet()
    network.load_state_dict(model.to_torch(data_format="channels_first").state_dict())
    assert_same(network(data.permute(0, 3, 1, 2)), model(data))


@pytest.mark.parametrize("kind, gates", [("LSTM", 4), ("GRU", 3), ("SimpleRNN", 1)])
def test_recurrent_weights_fit_torchs_modules(kind, gates):
    model = model_of(getattr(L, kind)(5, return_sequences=True, name="rnn"), shape=(6, 3))
    with torch.no_grad():
        model.layers[-1].cell.bias.uniform_(-1, 1)
    network = getattr(nn, kind.removeprefix("Simple"))(3, 5, batch_first=True)
    state = model.to_torch().state_dict()
    network.load_state_dict({name.removeprefix("rnn."): value for name, value in state.items()})
    assert network.weight_ih_l0.shape == (gates * 5, 3)
    x = torch.randn(2, 6, 3)
    assert_same(network(x)[0], model(x))


def test_names_are_those_of_the_layers_with_torchs_words():
    inner = lamina.Sequential([L.Input((4,)), L.Dense(3, name="a"), L.BatchNormalization(name="b")], name="inner")
    model = model_of(inner, L.Reshape((1, 3)), L.LSTM(2, name="lstm"), L.Dense(2, name="out.put"), L.PReLU(name="code"))
    assert list(model.to_torch().state_dict()) == [
        "lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.bias_ih_l0", "lstm.bias_hh_l0",
        "out_put.weight", "out_put.bias", "code_.weight",
        "inner.a.weight", "inner.a.bias",
        "inner.b.weight", "inner.b.bias", "inner.b.running_mean", "inner.b.running_var", "inner.b.num_batches_tracked",
    ]  # fmt: skip


def test_one_module_runs_a_bidirectional_layer():
    module = references.settled("bidirectional").to_torch()
    assert isinstance(module.bidirectional, nn.GRU) and module.bidirectional.bidirectional
    assert isinstance(module.bidirectional_1, nn.LSTM) and module.bidirectional_1.bidirectional


def test_padding_follows_sizes_that_are_not_known():
    x = inputs = L.Input((None, None, 3))
    x = L.Conv2D(4, 5, strides=3, padding="same")(x)
    x = L.MaxPooling2D(2, 3, padding="same")(x)  # windows narrower than the steps
    x = L.AveragePooling2D(3, 2, padding="same")(x)
    model = lamina.Model(inputs, x)
    module = model.to_torch()
    for size in [(9, 9), (37, 50), (38, 52), (10, 64)]:
        images = torch.randn(2, *size, 3)
        assert_same(module(images), model(images))


def test_images_that_have_been_turned_meet_others():
    x = L.Input((5, 5, 3))
    y = L.Conv2D(3, 3, padding="same", activation="relu")(x)
    model = lamina.Model(x, [L.Add()([y, x]), L.Add()([x, y]), L.Concatenate()([y, x]), L.Multiply()([y, y[:, :1]])])
    data = torch.randn(2, 5, 5, 3)
    assert_same(model.to_torch()(data), model(data))
    turned = [y.permute(0, 3, 1, 2) for y in model(data)]
    assert_same(model.to_torch("channels_first")(data.permute(0, 3, 1, 2)), turned)


def test_a_layer_may_be_called_on_data_of_two_sizes():
    conv, pool = L.Conv2D(4, 3, strides=2, padding="same"), L.MaxPooling2D(3, 2, padding="same")
    inputs = L.Input((7, 7, 2))
    larger = L.ZeroPadding2D(((0, 1), (0, 1)))(inputs)
    model = lamina.Model(inputs, [conv(inputs), conv(larger), pool(inputs), pool(larger)])
    module, x = model.to_torch(), torch.randn(2, 7, 7, 2)
    assert_same(module(x), model(x))
    assert [name for name, _ in module.named_parameters()] == ["conv2d.weight", "conv2d.bias"]


MASKED = torch.tensor([[1, 2, 0, 0, 3], [4, 0, 0, 0, 0], [1, 1, 2, 3, 4], [0, 0, 0, 0, 0], [0, 2, 1, 0, 0]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: [L.LSTM(3)],
        lambda: [L.GRU(3, return_sequences=True, zero_output_for_mask=True)],
        lambda: [L.SimpleRNN(3, go_backwards=True, return_state=True)],
        lambda: [L.Bidirectional(L.GRU(3, return_sequences=True)), L.LSTM(2)],
        lambda: [L.TimeDistributed(L.Dense(4)), L.Dropout(0.5), L.RNN([L.LSTMCell(3), L.GRUCell(2)])],
        lambda: [L.LSTM(3, activation="relu", return_sequences=True)],
        lambda: [L.LSTM(3, return_state=True)],
    ],
)
def test_masked_steps_are_skipped(make):
    model = model_of(L.Embedding(9, 4, mask_zero=True), *make(), shape=(5,), dtype="int64")
    assert_same(model.to_torch()(MASKED), model(MASKED))


def test_a_mask_reaches_the_layers_that_ask_for_it():
    x = L.Input((None, 3))
    masked = L.Masking()(x)
    doubled = L.Lambda(lambda x, mask: x * mask.unsqueeze(-1), output_shape=(None, 3))(masked)
    model = lamina.Model(x, [L.Softmax()(masked), L.Multiply()([masked, masked]), doubled])
    data = torch.randn(2, 5, 3)
    data[0, 2:] = 0
    assert_same(model.to_torch()(data), model(data))


def test_torch_functions_and_shared_weights_stay_what_they_are():
    table = L.Embedding(11, 4, name="table")
    ids = L.Input((6,), dtype="int32", name="ids")
    x = table(ids).mean(1)
    low, high = torch.chunk(x, 2, dim=-1)
    scores = nn.functional.linear(x, table.embeddings)
    model = lamina.Model(ids, [scores, low * high.exp(), x.T.T, torch.cat([x, torch.ones(2, 4)[:1].expand(3, 4)])])
    module, data = model.to_torch(), torch.randint(0, 11, (3, 6), dtype=torch.int32)
    assert_same(module(data), model(data))
    assert [name for name, _ in module.named_parameters()] == ["table.weight"]  # one weight, in both places


class Scaled(L.Layer):
    """A layer of a user's own, with a weight, a buffer and a torch module."""

    def build(self, shape):
        self.scale = self.add_weight((shape[-1],), "ones", name="scale")
        self.shift = self.add_weight((1,), "zeros", trainable=False, name="shift")
        self.inner = nn.Linear(shape[-1], 3)

    def call(self, x):
        if x.shape[-1] > 2 and x.is_floating_point():
            x = (x * self.scale.square() + self.shift).reshape(x.shape[0], -1)
        return self.inner(x)


def test_a_layer_of_ones_own_is_written_out():
    model = model_of(Scaled(name="scaled"))
    with torch.no_grad():
        model.layers[-1].scale.mul_(3)
        model.layers[-1].shift.add_(1)
    module, x = model.to_torch(), torch.randn(3, 4)
    assert_same(module(x), model(x))
    assert list(module.state_dict()) == ["scaled.scale", "scaled.shift", "scaled.inner.weight", "scaled.inner.bias"]
    assert [name for name, _ in module.named_buffers()] == ["scaled.shift"]


def test_new_tensors_may_have_the_sizes_of_the_data():
    class Own(lamina.Model):
        def call(self, x):
            steps = torch.arange(x.shape[1]).to(x.dtype)
            return x + x.new_ones(x.shape[0], x.shape[1]) * steps

    model, x = Own(), torch.randn(3, 4)
    model(x)
    module = model.to_torch()
    assert_same(module(x), model(x))
    assert_same(module(x[:1]), model(x[:1]))


def test_a_subclass_that_computes_otherwise_is_not_taken_for_its_base():
    class Twice(L.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    class Renamed(L.Dense):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    model, x = model_of(Twice(3), Renamed(2)), torch.randn(3, 4)
    module = model.to_torch()
    assert_same(module(x), model(x))
    assert isinstance(module.renamed, nn.Linear) and not isinstance(module.twice, nn.Linear)


# ---------------------------------------------------------------------- training
def trained(network: nn.Module, call: Any, batches: list[Any]) -> list[torch.Tensor]:
    """Losses of a few steps of plain gradient descent."""
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for data in batches:
        optimizer.zero_grad()
        loss = sum(t.square().mean() for t in references.flat(call(data)))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


@pytest.mark.parametrize("name", ["resnet", "lstm", "bidirectional", "attention", "encoder_decoder", "several"])
def test_a_module_learns_as_the_model_does(name):
    model = references.settled(name)
    module = model.to_torch()
    batches = [references.REFERENCES[name].data(5) for _ in range(3)]
    model.train(), module.train()
    expected = trained(model, model, batches)
    found = trained(module, lambda data: module(*references.flat(data)), batches)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert expected[0] != expected[1] != expected[2]


def test_the_modes_differ_as_they_should():
    model = model_of(
        L.BatchNormalization(momentum=0.9, name="bn"), L.Dropout(0.5), L.SpatialDropout1D(0.5), shape=(3, 40)
    )
    module, x = model.to_torch(), torch.randn(8, 3, 40)
    assert not module.training and model.train().to_torch().training
    model.eval()
    assert_same(module(x), model(x))
    y = module.train()(x)
    dropped = y == 0
    assert 0.5 < dropped.float().mean() < 0.95
    assert dropped.all(1).float().mean() > 0.2  # whole channels
    torch.testing.assert_close(module.bn.running_mean, 0.1 * x.mean((0, 1)), **CLOSE)
    assert module.bn.momentum == pytest.approx(0.1)


def test_what_is_frozen_stays_frozen():
    model = model_of(L.Dense(4, trainable=False, name="dense"), L.BatchNormalization(trainable=False, name="bn"))
    module = model.to_torch().train()
    assert not any(p.requires_grad for p in module.parameters())
    before = copy.deepcopy(module.state_dict())
    x = torch.randn(9, 4)
    assert_same(module(x), model(x, training=True))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_mode_that_a_call_fixes_stays_fixed():
    x = L.Input((3, 40))
    norm = L.BatchNormalization()(x, training=False)
    model = lamina.Model(x, [norm, L.Dropout(0.5)(x, training=True), L.SpatialDropout1D(0.5)(x, training=True)])
    module, data = model.to_torch(), torch.ones(4, 3, 40)
    assert_same(module.train()(data)[0], model(data)[0])
    _, single, whole = module.eval()(data)
    assert 0.2 < (single == 0).float().mean() < 0.8
    assert ((whole == 0).all(1) | (whole == 2).all(1)).all() and (whole == 0).any()


# ---------------------------------------------------------------------- without lamina
WITHOUT = """
import sys
sys.modules["lamina"] = None
import torch
for name in sys.argv[1:]:
    sys.path.insert(0, name)
    module = torch.load(f"{name}/module.pt", weights_only=False)
    data, expected = torch.load(f"{name}/data.pt")
    torch.testing.assert_close(module(*data), expected, rtol=1e-5, atol=1e-5)
    assert module.train()(*data).shape == expected.shape
    again = getattr(__import__(name), name.title())()
    again.load_state_dict(torch.load(f"{name}/state.pt"))
    torch.testing.assert_close(again.eval()(*data), expected, rtol=1e-5, atol=1e-5)
    print(*sorted({type(part).__module__.split(".")[0] for part in again.modules()}))
"""


def test_a_module_is_used_where_there_is_no_lamina(tmp_path):
    names = ["cnn", "attention"]
    for name in names:
        model, data = references.settled(name), references.flat(references.batches(name)[1])
        module = model.to_torch()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Was not able to save")  # torch pickles what has no repr that makes it
            module.to_folder(tmp_path / name, name.title())
        torch.save(module, tmp_path / name / "module.pt")
        torch.save(module.state_dict(), tmp_path / name / "state.pt")
        torch.save((data, model(*data).detach()), tmp_path / name / "data.pt")
    program = [sys.executable, "-W", "ignore", "-c", WITHOUT, *names]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["attention", "cnn", "torch", "torch"]


def test_a_module_is_built_of_torchs_classes():
    for name in NAMES:
        kinds = {type(part).__module__.split(".")[0] for part in references.settled(name).to_torch().modules()}
        assert kinds == {"torch"}, name


# ---------------------------------------------------------------------- nothing changes
def snapshot(model: Any) -> list[Any]:
    parts = list(model.modules())
    return [
        [tensor.clone() for tensor in model.state_dict().values()],
        [(part.training, sorted(part.__dict__), len(getattr(part, "nodes", ()))) for part in parts],
        [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts],
        torch.get_rng_state(),
        [(tensor.requires_grad, tensor.grad is None) for tensor in model.parameters()],
        nn.Module.__call__,
        torch.compiler.is_compiling(),
    ]


@pytest.mark.parametrize("name", ["cnn", "subclassed", "several"])
def test_a_model_is_left_as_it_was(name):
    model = references.settled(name)
    model.layers[-1].train()
    data = references.batches(name)[1]
    model(data)
    before = snapshot(model)
    module = model.to_torch()
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
    after = snapshot(model)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    assert torch.equal(after[3], before[3])
    del before[3], after[3]
    assert after[1:] == before[1:]


def test_what_a_call_keeps_is_kept_from_the_model():
    class Own(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(3)

        def call(self, x):
            self.seen, self.extra = x, nn.Identity()
            return self.extra(self.dense(x))

    model, x = Own(), torch.randn(2, 4)
    expected = model(x)
    del model.extra
    with pytest.raises(ExportError, match="no part of the model"):
        model.to_torch(inference=True)
    assert model.seen is x and "extra" not in model._modules
    assert_same(model(x), expected)


def test_torch_modules_come_along_without_what_lamina_keeps_on_them():
    norm = nn.BatchNorm1d(4)
    model, x = model_of(nn.Sequential(norm, nn.Linear(4, 2))), torch.randn(3, 4)
    module = model.to_torch()
    assert_same(module(x), model(x))
    assert not any("_lamina_layer" in vars(part) for part in module.modules())
    assert norm not in list(module.modules())


def test_an_error_on_the_way_leaves_torch_as_it_was():
    call = nn.Module.__call__
    with pytest.raises(ExportError):
        model_of(L.GaussianNoise(0.1)).to_torch()
    assert nn.Module.__call__ is call and not torch.compiler.is_compiling()


# ---------------------------------------------------------------------- what cannot be
def decides(x):
    return x if x.sum() > 0 else -x


def by_numpy(x):
    return torch.as_tensor(x.detach().numpy() + 1)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: [L.GaussianNoise(0.1, name="noisy")], ["noisy", "GaussianNoise", "inference=True"]),
        (lambda: [L.AlphaDropout(0.1, noise_shape=(None, 1))], ["AlphaDropout", "inference=True"]),
        (lambda: [L.BatchNormalization(renorm=True)], ["BatchNormalization", "renorm=False"]),
        (lambda: [L.RepeatVector(3), L.Masking(), L.BatchNormalization()], ["without a mask", "inference=True"]),
        (lambda: [L.RepeatVector(3), L.LSTM(3, stateful=True)], ["stateful=False", "return_state"]),
        (lambda: [L.RepeatVector(3), L.LSTM(3, recurrent_dropout=0.1)], ["recurrent_dropout=0", "inference=True"]),
    ],
)
def test_a_layer_that_torch_has_not_is_named(make, words):
    with pytest.raises(ExportError) as caught:
        model_of(*make()).to_torch()
    assert all(word in str(caught.value) for word in words), caught.value


def test_at_inference_what_only_training_needs_is_left_out():
    stack = [L.GaussianNoise(0.1), L.Dropout(0.5), L.BatchNormalization(renorm=True), L.RepeatVector(3)]
    model, x = model_of(*stack, L.LSTM(3, dropout=0.5, recurrent_dropout=0.1)), torch.randn(3, 4)
    module = model.to_torch(inference=True)
    assert_same(module(x), model(x))
    assert not module.training and not any("Dropout" in type(part).__name__ for part in module.modules())


@pytest.mark.parametrize("function, words", [(decides, ["torch.where"]), (by_numpy, ["torch.nn.Module"])])
def test_code_that_is_not_torch_alone_is_refused(function, words):
    class Own(lamina.Model):
        def call(self, x):
            return function(x)

    model = Own()
    model(torch.ones(2, 3))
    with pytest.raises(ExportError) as caught:
        model.to_torch()
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_code_that_takes_another_way_for_what_is_no_tensor_is_found_out(data_format):
    class Own(lamina.Model):
        def __init__(self):
            super().__init__()
            self.conv = L.Conv2D(4, 3)

        def call(self, x):
            return self.conv(2 * x if isinstance(x, torch.Tensor) and self.doubles else x)

    model = Own()
    for model.doubles in (True, False):
        model(torch.ones(2, 8, 8, 3))
        if model.doubles:
            with pytest.raises(ExportError, match="gives other numbers"):
                model.to_torch(data_format)
        else:
            assert isinstance(model.to_torch(data_format).conv, nn.Conv2d)


def test_a_decision_by_the_mode_is_refused_unless_the_mode_is_known():
    class Own(lamina.Model):
        def call(self, x, training=False):
            return x * 2 if training else x

    model = Own()
    model(torch.ones(2, 3))
    with pytest.raises(ExportError, match="decides by `training`"):
        model.to_torch()
    assert_same(model.to_torch(inference=True)(torch.ones(2, 3)), torch.ones(2, 3))


def test_a_recurrent_layer_with_other_activations_needs_a_number_of_steps():
    with pytest.raises(ExportError, match="number of steps"):
        model_of(L.LSTM(3, activation="relu"), shape=(None, 4)).to_torch()


def test_a_model_without_weights_or_of_another_kind_is_refused():
    with pytest.raises(NotBuiltError, match="not built"):
        lamina.Sequential([L.Dense(3)]).to_torch()
    with pytest.raises(ArgumentError, match="takes a lamina model"):
        to_torch(nn.Linear(2, 3))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="channels_first"):
        references.settled("mlp").to_torch(data_format="NCHW")


def test_a_layer_alone_becomes_a_module_too():
    layer = L.Conv1D(3, 2, name="conv")
    x = torch.randn(2, 5, 4)
    expected = layer(x)
    module = to_torch(layer)
    assert_same(module(x), expected)
    assert list(module.state_dict()) == ["conv.weight", "conv.bias"]


def test_the_code_can_be_read():
    code = references.settled("mlp").to_torch().code
    assert [line.split("=")[0].strip() for line in code.splitlines() if "=" in line] == [
        "dense", "dense_relu", "dropout", "dense_1", "dense_1_gelu", "dense_2",
    ]  # fmt: skip
