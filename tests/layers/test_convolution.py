"""Conv1D, Conv2D and Conv3D: shapes, weights, memory and errors. Their numbers are compared in tests/oracle."""

from __future__ import annotations

import copy
from math import ceil
from typing import Any

import pytest
import torch

from lamina import config
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.convolution import Conv1D, Conv2D, Conv3D, Convolution
from lamina.layers.input import Input

CLASSES: dict[int, type[Convolution]] = {1: Conv1D, 2: Conv2D, 3: Conv3D}


def test_a_moving_difference_is_a_convolution():
    layer = Conv1D(1, 2, use_bias=False)
    layer.build((None, 4, 1))
    layer.set_weights([[[[-1.0]], [[1.0]]]])
    assert layer(torch.tensor([1.0, 4.0, 9.0, 16.0]).view(1, 4, 1)).flatten().tolist() == [3.0, 5.0, 7.0]


def test_document_001s_layers_have_its_shapes_and_counts():
    first = Conv2D(filters=16, kernel_size=2, strides=2, activation="relu")
    second = Conv2D(filters=32, kernel_size=3, padding="same", activation="relu")
    x = first(Input((200, 200, 1)))
    assert x.shape == (None, 100, 100, 16)
    assert second(x).shape == (None, 100, 100, 32)
    assert [first.count_params(), second.count_params()] == [16 * 2 * 2 * 1 + 16, 32 * 3 * 3 * 16 + 32]
    third = Conv2D(filters=32, kernel_size=3, strides=2, padding="same", activation="relu")
    assert third(Input((128, 128, 3))).shape == (None, 64, 64, 32)
    assert third.count_params() == 896


@pytest.mark.parametrize(("height", "width"), [(7, 9), (28, 28), (13, 32)])
@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_document_001s_formulas_hold(height: int, width: int, window: int, stride: int):
    same = Conv2D(4, window, strides=stride, padding="same")
    valid = Conv2D(4, window, strides=stride)
    sizes = {"same": (ceil(height / stride), ceil(width / stride))}
    sizes["valid"] = (ceil((height - window + 1) / stride), ceil((width - window + 1) / stride))
    for layer in (same, valid):
        expected = (*sizes[layer.padding], 4)
        assert layer.compute_output_shape((None, height, width, 2)) == (None, *expected)
        assert layer(Input((height, width, 2))).shape == (None, *expected)
        assert layer(torch.ones(3, height, width, 2)).shape == (3, *expected)
        assert layer.count_params() == 4 * window * window * 2 + 4


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unknown_sizes_stay_unknown_and_any_size_can_follow(rank: int, padding: str, data_format: str):
    layer = CLASSES[rank](4, 3, padding=padding, data_format=data_format)
    last = data_format == "channels_last"
    y = layer(Input((*[None] * rank, 2) if last else (2, *[None] * rank)))
    assert y.shape == ((None, *[None] * rank, 4) if last else (None, 4, *[None] * rank))
    for size in (3, 8):
        shape = (2, *(size,) * rank, 2) if last else (2, 2, *(size,) * rank)
        assert layer(torch.ones(shape)).shape == layer.compute_output_shape(shape)


def test_no_output_of_a_causal_convolution_sees_a_later_step():
    layer = Conv1D(3, 3, padding="causal", dilation_rate=2)
    x = torch.randn(1, 12, 2)
    changed = x.clone()
    changed[:, 7:] += 1
    before, after = layer(x), layer(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] != after[:, 7:]).all()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_kernel_has_the_shape_of_keras_in_the_memory_of_torch(rank: int):
    layer = CLASSES[rank](8, 3, groups=2)
    layer.build((None, *[None] * rank, 4))
    assert [tuple(w.shape) for w in layer.weights] == [(*(3,) * rank, 2, 8), (8,)]
    assert layer.kernel.permute(-1, *range(rank), -2).is_contiguous()
    assert [name for name, _ in layer.named_parameters()] == ["kernel", "bias"]


def test_a_layer_without_bias_has_only_its_kernel():
    layer = Conv2D(8, 3, use_bias=False)
    layer.build((None, 8, 8, 4))
    assert [tuple(w.shape) for w in layer.weights] == [(3, 3, 4, 8)]


def test_the_result_is_contiguous_and_keeps_the_memory_format_of_torch():
    x = torch.ones(2, 8, 8, 3)
    assert Conv2D(4, 3)(x).is_contiguous()
    first = Conv2D(4, 3, data_format="channels_first")(x.permute(0, 3, 1, 2))
    assert first.is_contiguous(memory_format=torch.channels_last)


def test_penalties_and_projections_belong_to_their_weights():
    layer = Conv2D(
        2, 1, kernel_initializer="ones", kernel_regularizer="l2", bias_initializer="ones", bias_regularizer="l2"
    )
    layer.build((None, 4, 4, 3))
    assert sorted(round(float(loss.detach()), 4) for loss in layer.losses) == [0.02, 0.06]
    layer = Conv2D(2, 1, kernel_constraint="non_neg", bias_constraint="unit_norm")
    layer.build((None, 4, 4, 3))
    found = {tuple(w.shape): type(c).__name__ for w, c in layer.constrained_weights()}
    assert found == {(1, 1, 3, 2): "NonNeg", (2,): "UnitNorm"}


def test_the_default_data_format_is_that_of_the_settings():
    config.set_image_data_format("channels_first")
    layer = Conv2D(4, 3)
    assert layer.get_config()["data_format"] == "channels_first"
    assert layer(torch.ones(2, 3, 8, 8)).shape == (2, 4, 6, 6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_an_empty_batch_gives_an_empty_batch(data_format: str):
    layer = Conv2D(4, 3, 2, "same", data_format)
    assert layer(torch.ones(0, 6, 6, 6)).shape == ((0, 3, 3, 4) if data_format == "channels_last" else (0, 4, 3, 3))


def test_a_copy_computes_the_same_with_weights_of_its_own():
    layer, x = Conv2D(4, 3), torch.randn(1, 8, 8, 2)
    y = layer(x)
    other = copy.deepcopy(layer)
    assert torch.equal(other(x), y)
    assert other.kernel.stride() == layer.kernel.stride()
    with torch.no_grad():
        other.kernel.zero_()
    assert torch.equal(layer(x), y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 3)), "Conv2D needs filters above zero"),
        (((4, 0)), r"Conv2D needs kernel_size as a whole number or 2 of them, each at least 1(.|\n)*kernel_size=0"),
        (((4, (3, 3, 3))), r"Conv2D needs kernel_size(.|\n)*\(3, 3, 3\)"),
        (((4, 3, 0)), r"Conv2D needs strides(.|\n)*strides=0"),
        (((4, 3, 1, "valid", None, 0)), r"Conv2D needs dilation_rate"),
        (((4, 3, 1, "valid", None, 1, 0)), "Conv2D needs groups above zero"),
        (((4, 3, 1, "valid", "last")), "Unknown data format"),
        (((4, 3, 1, "smae")), r"Conv2D has no such padding(.|\n)*'valid' or 'same'(.|\n)*did you mean 'same'"),
        (((4, 3, 1, "causal")), r"Conv2D has no such padding(.|\n)*only Conv1D has causal padding"),
        (((4, 3, 1, 5)), r"Conv2D has no such padding(.|\n)*padding=5(.|\n)*padding='valid'"),
        (
            ((4, 3, 2, "valid", None, 2)),
            r"Conv2D cannot have strides and a dilation at once(.|\n)*strides=\(2, 2\), dilation_rate=\(2, 2\)",
        ),
        (
            ((4, 3, 1, "valid", None, 1, 3)),
            r"Conv2D cannot split its filters into 3 groups(.|\n)*filters=4, groups=3(.|\n)*make it 6 filters",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ArgumentError, match=message):
        Conv2D(*arguments)


def test_a_signal_has_three_paddings():
    with pytest.raises(
        ArgumentError, match=r"Conv1D has no such padding(.|\n)*or 'causal'(.|\n)*did you mean 'causal'"
    ):
        Conv1D(4, 3, padding="casual")
    assert Conv1D(4, 3, padding="Causal").padding == "causal"


def test_channels_that_cannot_be_grouped_are_refused_when_the_layer_is_built():
    layer = Conv2D(4, 3, groups=2, name="split")
    with pytest.raises(
        ArgumentError, match=r"split(.|\n)*cannot split its input channels into 2 groups(.|\n)*\(1, 8, 8, 3\), groups=2"
    ):
        layer(torch.ones(1, 8, 8, 3))
    assert layer(torch.ones(1, 8, 8, 4)).shape == (1, 6, 6, 4)


def test_an_unknown_number_of_channels_is_refused():
    with pytest.raises(ShapeError, match=r"number of channels is not known(.|\n)*axis -1 \(channels_last\)"):
        Conv2D(4, 3)(Input((8, 8, None)))
    with pytest.raises(ShapeError, match=r"number of channels is not known(.|\n)*axis 1 \(channels_first\)"):
        Conv2D(4, 3, data_format="channels_first").build((None, None, 8, 8))


def test_an_input_of_another_rank_is_refused():
    with pytest.raises(ShapeError, match=r"'c'(.|\n)*4 axes(.|\n)*\(28, 28, 1\), 3 axes(.|\n)*x\[None\]"):
        Conv2D(4, 3, name="c")(torch.ones(28, 28, 1))


def test_another_number_of_channels_than_at_first_is_refused():
    layer = Conv2D(4, 3, name="c")
    layer(torch.ones(1, 8, 8, 3))
    with pytest.raises(ShapeError, match=r"'c': Conv2D cannot take this input(.|\n)*3 on axis -1(.|\n)*\(1, 8, 8, 5\)"):
        layer(torch.ones(1, 8, 8, 5))
    with pytest.raises(ShapeError, match=r"3 on axis -1(.|\n)*\(None, 3, 8, 8\)(.|\n)*x\.movedim\(1, -1\)"):
        layer(Input((3, 8, 8)))


def test_an_input_smaller_than_the_window_is_refused_before_and_after_building():
    layer = Conv2D(4, 3, dilation_rate=2, name="c")
    message = (
        r"'c': The window of Conv2D does not fit(.|\n)*at least 5 on axis 2(.|\n)*\(1, 8, 4, 3\)(.|\n)*padding='same'"
    )
    with pytest.raises(ShapeError, match=message):
        layer(torch.ones(1, 8, 4, 3))
    with pytest.raises(ShapeError, match="does not fit"):
        layer(Input((8, 4, 3)))
    layer(torch.ones(1, 8, 8, 3))
    with pytest.raises(ShapeError, match=r"'c'(.|\n)*sizes of at least \(5, 5\) on axes \(1, 2\)(.|\n)*\(1, 8, 4, 3\)"):
        layer(torch.ones(1, 8, 4, 3))
