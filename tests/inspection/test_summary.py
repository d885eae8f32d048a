"""The table that `summary` prints."""

from __future__ import annotations

import pytest
import torch

from lamina.errors import UnknownNameError
from lamina.inspection import Report
from lamina.layers import Dense, Input, add
from lamina.models import Model, Sequential


def chain():
    return Sequential(
        [Input((4,)), Dense(300, name="wide"), Dense(2, name="narrow", trainable=False), torch.nn.ReLU()], name="chain"
    )


def text_of(model, **arguments):
    texts = []
    report = model.summary(print_fn=texts.append, **arguments)
    assert len(texts) == 1 and isinstance(report, Report)
    return texts[0]


def cells(text):
    """The rows of the table, cell by cell."""
    lines = [line.split("  ") for line in text.splitlines()]
    return [[cell.strip() for cell in line if cell.strip()] for line in lines if any(cell.strip() for cell in line)]


def test_the_table_of_a_chain():
    rows = cells(text_of(chain()))
    assert rows[0] == ["Sequential: chain"]
    assert rows[1] == ["Layer (type)", "Output shape", "Params"]
    assert rows[3:6] == [
        ["wide (Dense)", "(None, 300)", "1,500"],
        ["narrow (Dense)", "(None, 2)", "602"],
        ["re_lu (ReLU)", "(None, 2)", "0"],
    ]
    assert rows[6:] == [
        ["Total params: 2,102 (8.21 KB)"],
        ["Trainable params: 1,500 (5.86 KB)"],
        ["Non-trainable params: 602 (2.35 KB)"],
        ["Memory for one sample: input 16.00 B, forward/backward 2.38 KB, total 10.60 KB"],
        ["FLOPs for one sample: 3,600"],
    ]


def test_a_graph_with_branches_says_what_is_connected():
    x = Input((4,), name="x")
    h = Dense(4, name="h")(x)
    rows = cells(text_of(Model(x, add([x, h], name="sum"))))
    assert rows[1][-1] == "Connected to" and rows[5] == ["sum (Add)", "(None, 4)", "0", "x, h"]


def test_a_column_says_what_is_trained():
    rows = cells(text_of(chain(), show_trainable=True))
    assert rows[1][-1] == "Trained" and rows[3][-1] == "yes" and rows[4][-1] == "no" and rows[5][-1] == "0"


def test_models_inside_are_indented():
    model = Sequential([Input((4,)), Sequential([Dense(2, name="deep")], name="inner")], name="outer")
    assert "deep" not in text_of(model)
    text = text_of(model, expand_nested=True)
    assert "\n  deep (Dense)" in text and "\ninner (Sequential)" in text


@pytest.mark.parametrize(
    ("bounds", "names"),
    [
        (("wide", "narrow"), ["wide", "narrow"]),
        (("narrow", "re_lu"), ["narrow", "re_lu"]),
        (("narrow", "narrow"), ["narrow"]),
        (("narrow", "wide"), ["wide", "narrow"]),
        (("wi.*", "nar.*"), ["wide", "narrow"]),
    ],
)
def test_a_range_of_layers_may_be_shown(bounds, names):
    rows = cells(text_of(chain(), layer_range=bounds))
    assert [row[0].split(" ")[0] for row in rows[3:-5]] == names
    assert rows[-5] == ["Total params: 2,102 (8.21 KB)"]


def test_a_range_of_layers_that_are_not_there_is_refused():
    with pytest.raises(UnknownNameError, match="There is no layer named 'widest'") as caught:
        chain().summary(layer_range=("widest", "narrow"))
    assert "did you mean 'wide'?" in str(caught.value)


def test_the_width_may_be_given():
    model = Sequential([Input((4,)), Dense(2, name="a_rather_long_name_for_a_layer")])
    assert max(len(line) for line in text_of(model, line_length=40).splitlines()) <= 40
    assert "a_rather_long_name_for_a_layer" in text_of(model)


def test_without_a_function_it_prints(capsys):
    chain().summary()
    text = capsys.readouterr().out
    assert "wide (Dense)" in text and "Total params: 2,102" in text and "\x1b" not in text


def test_a_layer_that_was_not_called_says_so():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.used, self.unused = Dense(2, name="used"), Dense(2, name="unused")

        def call(self, x):
            return self.used(x)

    net = Net()
    net.build((None, 3))
    rows = cells(text_of(net))
    assert ["used (Dense)", "(None, 2)", "8"] in rows and ["unused (Dense)", "not called", "0"] in rows
