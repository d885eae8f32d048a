"""A report as Markdown, HTML and JSON."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
import torch

from lamina.inspection import Failure, Link, Report, Row, measure
from lamina.inspection.folding import Group
from lamina.layers import LSTM, Dense, Input, Lambda, add
from lamina.models import Model, Sequential


def report(**changes):
    rows = [
        Row("_x_", "InputLayer", call_shapes=[(None, 4)]),
        Row("a|b<script>", "Dense", call_shapes=[{"y": (None, 2), "z": (None, 3)}], num_params=1500, depth=1, parent=0),
        Row("sum", "Add", call_shapes=[(None, 2)], links=[Link("_x_", 0), Link("a|b<script>", 1, 1, 0)]),
    ]
    return Report("net", "Net", rows, 1500, 1500, 6000, **changes)


FAILURE = Failure("sum", "It <does> not\nfit ```.", expected="a & b", fix="stop")


def failed():
    found = report(failure=FAILURE)
    found.rows[2].failed, found.rows[2].call_shapes = True, []
    return found


# ---------------------------------------------------------------------- Markdown
def test_markdown_is_a_table_of_github():
    assert report().to_markdown().splitlines() == [
        "**Net: net**",
        "",
        "| Layer (type) | Output shape | Params | Connected to |",
        "| :--- | :--- | ---: | :--- |",
        r"| \_x\_ (InputLayer) | (None, 4) | 0 |  |",
        r"| &nbsp;&nbsp;&nbsp;&nbsp;a\|b\<script\> (Dense) | y: (None, 2)<br>z: (None, 3) | 1,500 |  |",
        r"| sum (Add) | (None, 2) | 0 | \_x\_, a\|b\<script\>\[1\]\[0\] |",
        "",
        "- Total params: 1,500 (5.86 KB)",
        "- Trainable params: 1,500",
        "- Non-trainable params: 0",
    ]


def test_markdown_leaves_underlines_in_words_and_has_columns_on_request():
    row = Row("conv2d_1_", "Conv2D", call_shapes=[(None, 4)], flops=2_000_000, activation_bytes=1024, num_params=1)
    text = Report("m", "Net", [row], 1, 1, 4).to_markdown(show_trainable=True, show_flops=True, show_memory=True)
    assert text.splitlines()[2:5] == [
        "| Layer (type) | Output shape | Params | Trained | FLOPs | Memory |",
        "| :--- | :--- | ---: | :--- | ---: | ---: |",
        r"| conv2d_1\_ (Conv2D) | (None, 4) | 1 | yes | 2.00 M | 1.00 KB |",
    ]


def test_markdown_tells_of_a_failure_in_a_fence_that_nothing_in_it_ends():
    lines = failed().to_markdown().splitlines()
    assert lines[6] == r"| **sum (Add)** | FAILED | 0 | \_x\_, a\|b\<script\>\[1\]\[0\] |"
    facts = ["FAILED in 'sum': It <does> not fit ```.", "  expected: a & b", "  fix:      stop"]
    assert lines[-5:] == ["````text", *facts, "````"]


# ---------------------------------------------------------------------- HTML
class Page(HTMLParser):
    """The cells of each row, the tags that are open, and the classes met."""

    VOID = ("br",)

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.classes, self.tags, self.styles = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.classes += [value for name, value in attrs if name == "class"]
        self.styles += [value for name, value in attrs if name == "style"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def test_html_is_one_table_and_escapes_names():
    page = Page(report().to_html())
    assert page.rows == [
        ["Layer (type)", "Output shape", "Params", "Connected to"],
        ["_x_ (InputLayer)", "(None, 4)", "0", ""],
        ["a|b<script> (Dense)", "y: (None, 2)\nz: (None, 3)", "1,500", ""],
        ["sum (Add)", "(None, 2)", "0", "_x_, a|b<script>[1][0]"],
    ]
    assert page.tags.count("table") == 1 and "script" not in page.tags
    assert page.styles == ["padding-left: 1.8em"]
    assert "<strong>Total params:</strong> 1,500 (5.86 KB)" in report().to_html()


def test_every_rule_of_the_style_is_for_the_table_alone():
    text = report().to_html()
    style = text[text.index("<style>") + 7 : text.index("</style>")]
    selectors = [part.split("{")[0].strip() for part in style.replace("\n", " ").split("}") if "{" in part]
    for selector in selectors:
        if not selector.startswith("@media"):
            assert all(".lamina-summary" in one for one in selector.split(",")), selector
    assert "prefers-color-scheme: dark" in style and 'data-jp-theme-light="false"' in style


def test_html_marks_the_failure_and_groups(monkeypatch):
    page = Page(failed().to_html())
    assert page.rows[3][1] == "FAILED" and {"failed", "failure"} <= set(page.classes)
    assert "FAILED in &#x27;sum&#x27;: It &lt;does&gt; not fit ```." in failed().to_html()
    monkeypatch.setattr("lamina.inspection.listing.fold", lambda rows: [0, Group("run", 2, [[1], [2]], "2 x <A>")])
    page = Page(report().to_html(fold=True))
    assert page.rows[2:] == [["2 x <A>", "(None, 2)", "1,500", "_x_"]] and "group" in page.classes


# ---------------------------------------------------------------------- JSON
class Both(Model):
    def __init__(self):
        super().__init__(name="both")
        self.dense, self.lstm, self.unused = Dense(2), LSTM(3, return_state=True), torch.nn.Linear(2, 2)
        self.scale = self.add_weight((1,), name="scale")

    def call(self, x):
        return {"y": self.dense(x) * self.scale, "states": self.lstm(x)}


def subclass():
    model = Both()
    model.build((None, 5, 4))
    return model


MODELS = {
    "functional": lambda: Model(
        x := Input((4,)), [Lambda(lambda t: {"a": t, "b": [t]})(add([x, Dense(4, activation=torch.tanh)(x)])), x * 2]
    ),
    "sequential": lambda: Sequential([Input((4,)), Dense(3, kernel_regularizer="l2"), torch.nn.BatchNorm1d(3)]),
    "subclass": subclass,
    "nested": lambda: Sequential([Input((4,)), Sequential([Dense(3), Dense(2)], name="inside"), Dense(1)]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_report_is_json(kind):
    found = measure(MODELS[kind](), expand_nested=True)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [row["name"] for row in data["rows"]] == [row.name for row in found.rows]
    assert data["total_params"] == found.total_params and data["total_bytes"] == found.total_bytes
    assert data["trainable_bytes"] == found.trainable_bytes <= data["params_bytes"]


def test_a_failure_is_json_too():
    data = json.loads(json.dumps(failed().to_dict()))
    assert data["failure"] == {
        "where": "sum", "what": "It <does> not\nfit ```.", "expected": "a & b", "received": None, "fix": "stop",
    }  # fmt: skip
    assert [row["failed"] for row in data["rows"]] == [False, False, True]


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_model_has_every_form(kind):
    found = measure(MODELS[kind](), expand_nested=True)
    options = {"show_trainable": True, "show_flops": True, "show_memory": True}
    texts = [found.to_markdown(**options), found.to_html(**options), str(found)]
    assert all(row.name in text or row.name.strip("_") in text for row in found.rows for text in texts)
    Page(texts[1])
