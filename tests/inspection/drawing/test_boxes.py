"""What a box says of a layer."""

from __future__ import annotations

import pytest

from lamina.inspection import Row
from lamina.inspection.drawing.boxes import Shown, group_box, row_box, shape_text
from lamina.inspection.drawing.kinds import COLOURS, DARK_COLOURS, DARK_PAPER, PAPER, kind_of

ALL = Shown(shapes=True, dtype=True, names=True, activations=True, trainable=True)


def texts(box):
    return [text.text for text in box.texts]


def test_a_box_says_what_it_is_told_to():
    row = Row("d", "Dense", call_shapes=[(None, 3)], input_shape=(None, 4), dtype="float32", num_params=15)
    row.activation = "relu"
    assert texts(row_box(row, Shown())) == ["Dense"]
    assert texts(row_box(row, ALL)) == [
        "Dense", "d", "activation", "relu", "input", "(None, 4)", "output", "(None, 3)", "dtype", "float32",
        "trainable", "yes",
    ]  # fmt: skip
    row.call_shapes.append((None, 7))
    assert "[(None, 3), (None, 7)]" in texts(row_box(row, ALL))


def test_a_layer_that_was_not_called_says_so():
    assert texts(row_box(Row("d", "Dense"), ALL)) == ["Dense", "d", "output", "not called"]
    assert texts(row_box(Row("m", "own weights", num_params=2), ALL)) == ["own weights", "m", "trainable", "yes"]


def test_a_long_name_is_cut_and_whole_in_the_tooltip():
    name = "block_" * 40
    box = row_box(Row(name, "Dense", path=f"model/{name}"), Shown(names=True))
    assert box.texts[1].text.endswith("…") and box.width < 320
    assert box.tooltip == f"model/{name} (Dense)"


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (None, "?"),
        ((), "()"),
        ((None, 2), "(None, 2)"),
        ([(None, 2), (None, 2)], "[(None, 2), (None, 2)]"),
        ([(None, 2)] * 3 + [(None, 1)], "[3 × (None, 2), (None, 1)]"),
        ({"a": (2,), "b": [(1,), None]}, "{a: (2,), b: [(1,), ?]}"),
    ],
)
def test_shapes_in_words(shape, text):
    assert shape_text(shape) == text


def test_a_group_has_the_colour_of_what_counts_in_it():
    rows = [Row("l", "Lambda"), Row("c", "Conv2D", num_params=10), Row("b", "BatchNormalization", num_params=4)]
    box = group_box("2 × (Lambda → Conv2D)", rows, 28)
    assert box.kind == "convolution" and box.stacked and texts(box) == ["2 × (Lambda → Conv2D)", "28 parameters"]
    assert texts(group_box("Lambda x 3", rows[:1], 0)) == ["Lambda × 3"]


def test_the_title_of_a_group_has_three_lines_at_most():
    title = "(Conv2D -> ... -> 32 x (Lambda -> Conv2D) -> Concatenate -> ... -> Add -> ReLU) x 5"
    box = group_box(title, [Row("c", "Conv2D")], 0)
    lines = texts(box)
    assert len(lines) in (2, 3) and " ".join(lines) == title.replace("->", "→").replace(" x ", " × ").replace(
        "...", "…"
    )
    assert all(line.endswith("→") for line in lines[:-1]) or lines[0].count("(") > 1
    assert box.width < 320 and len({text.y for text in box.texts}) == len(lines)
    long = group_box(" -> ".join(["Convolution"] * 30), [Row("c", "Conv2D")], 0)
    assert len(texts(long)) == 3 and texts(long)[-1].endswith("…")


KINDS = {
    "io": "InputLayer",
    "convolution": "Conv1D Conv2D Conv3D Conv2DTranspose DepthwiseConv2D SeparableConv1D Conv2d ConvTranspose2d conv2d",
    "pooling": "MaxPooling2D AveragePooling1D GlobalAveragePooling2D GlobalMaxPooling3D MaxPool2d AdaptiveAvgPool2d",
    "dense": "Dense EinsumDense Linear linear",
    "recurrent": "LSTM GRU SimpleRNN RNN Bidirectional LSTMCell",
    "attention": "MultiHeadAttention Attention Embedding",
    "normalization": "BatchNormalization LayerNormalization GroupNormalization BatchNorm2d LayerNorm UnitNormalization",
    "activation": "ReLU LeakyReLU PReLU ELU Softmax Activation GELU relu softmax Sigmoid tanh",
    "merge": "Add Concatenate Multiply Average Maximum Minimum Subtract Dot add cat matmul",
    "other": "Flatten Reshape Dropout Lambda ZeroPadding2D UpSampling2D getitem Functional Sequential Masking",
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_layers(kind):
    assert {name: kind_of(name) for name in KINDS[kind].split()} == dict.fromkeys(KINDS[kind].split(), kind)


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """As the Web Content Accessibility Guidelines define it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("paper", "colours"), [(PAPER, COLOURS), (DARK_PAPER, DARK_COLOURS)], ids=["light", "dark"])
def test_texts_and_lines_can_be_read(paper, colours):
    assert set(colours) == set(KINDS)
    for fill, line in colours.values():
        for tone in (paper.strong, paper.plain, paper.muted):
            assert contrast(tone, fill) >= 4.5
        assert contrast(line, paper.back) >= 2.5
    assert contrast(paper.edge, paper.back) >= 3 and contrast(paper.plain, paper.frame) >= 7
