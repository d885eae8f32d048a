"""Where a table goes and how it looks there: terminal, pipe, notebook, function; narrow, wide, in other letters."""

from __future__ import annotations

import io
import re
import sys
import types

import pytest
from rich.cells import cell_len

from lamina.errors import ArgumentError, UnknownNameError
from lamina.inspection import Failure, Link, Report, Row, print_report, report_text
from lamina.inspection.printing import STYLES


def report(**changes):
    """A graph with long names, two results, a layer that is not trained, and one with letters of two columns."""
    rows = [
        Row("image", "InputLayer", call_shapes=[(None, 32, 32, 3)]),
        Row("a_convolution_with_a_very_long_name_indeed", "Conv2D", call_shapes=[(None, 30, 30, 16)], num_params=448,
            links=[Link("image", 0)], flops=1_555_200, activation_bytes=57_600),
        Row("注意力", "注意力层", call_shapes=[{"y": (None, 4), "weights": [(None, 7), (None, 7), (None, 2)]}],
            num_params=1_234_567, trainable=False, links=[Link("image", 0)], activation_bytes=80),
        Row("inside", "Dense", call_shapes=[(None, 4)], depth=1, parent=2),
        Row("both", "Concatenate", call_shapes=[(None, 14_404)],
            links=[Link("a_convolution_with_a_very_long_name_indeed", 1), Link("注意力", 2, 0, 1)]),
    ]  # fmt: skip
    known = {"params_bytes": 4_940_060, "trainable_bytes": 1_792, "input_bytes": 12_288, **changes}
    return Report("net", "Net", rows, 1_235_015, 448, **known)


FAILURE = Failure("net/both", "The shapes\ndo not fit.", "(None, 4)", "(None, 5)", "flatten [bold]first[/bold]")


def failed():
    found = report(failure=FAILURE)
    found.rows[-1].failed, found.rows[-1].call_shapes = True, []
    return found


def table_and_rest(text):
    table, *rest = text.split("\n\n")
    return table.splitlines(), rest


# ---------------------------------------------------------------------- the table
def test_the_table_of_a_graph():
    table, rest = table_and_rest(report_text(report(), line_length=150))
    connected = "a_convolution_with_a_very_long_name_indeed, 注意力[0][1]"
    assert table == [
        "Net: net",
        "Layer (type)                                         Output shape               Params  Connected to",
        "─" * 144,
        "image (InputLayer)                                   (None, 32, 32, 3)               0",
        "a_convolution_with_a_very_long_name_indeed (Conv2D)  (None, 30, 30, 16)            448  image",
        "注意力 (注意力层)                                    y: (None, 4)            1,234,567  image",
        "                                                     weights 0-1: (None, 7)",
        "                                                     weights 2: (None, 2)",
        "  inside (Dense)                                     (None, 4)                       0",
        f"both (Concatenate)                                   (None, 14404)                   0  {connected}",
    ]
    assert rest[0].splitlines() == [
        "Total params: 1,235,015 (4.71 MB)",
        "Trainable params: 448 (1.75 KB)",
        "Non-trainable params: 1,234,567 (4.71 MB)",
        "Memory for one sample: input 12.00 KB, forward/backward 112.66 KB, total 4.83 MB",
        "FLOPs for one sample: 1,555,200 (1.56 M)",
    ]


def test_totals_say_only_what_is_known():
    plain = Report("net", "Net", [], 8, 8, 32)
    assert report_text(plain).split("\n\n")[1].splitlines() == [
        "Total params: 8 (32.00 B)",
        "Trainable params: 8",
        "Non-trainable params: 0",
    ]
    plain.optimizer_bytes = 64
    assert report_text(plain).splitlines()[-1] == "Memory for one sample: optimizer 64.00 B, total 96.00 B"


def test_columns_on_request():
    options = {"show_trainable": True, "show_flops": True, "show_memory": True}
    table, _ = table_and_rest(report_text(report(), line_length=180, **options))
    assert table[1].split()[-3:] == ["Trained", "FLOPs", "Memory"]
    assert table[3].split()[-2:] == ["-", "-"]
    assert table[4].split()[-5:] == ["yes", "1.56", "M", "56.25", "KB"]
    assert table[5].split()[-4:] == ["no", "-", "80.00", "B"]


@pytest.mark.parametrize("line_length", [*range(40, 60, 3), 80, 100, 120])
@pytest.mark.parametrize("options", [{}, {"show_trainable": True, "show_flops": True, "show_memory": True}])
def test_nothing_is_lost_and_no_line_is_longer_than_asked_for(line_length, options):
    text = report_text(report(), line_length=line_length, **options)
    assert max(cell_len(line) for line in text.splitlines()) <= line_length
    wide = report_text(report(), line_length=300, **options)
    assert sorted(re.sub(r"[\s─]", "", text)) == sorted(re.sub(r"[\s─]", "", wide))


def test_columns_align_in_letters_of_two_places():
    table, _ = table_and_rest(report_text(report(), line_length=140))
    starts = {cell_len(line[: line.index("(None")]) for line in table[3:5]} | {
        cell_len(table[5][: table[5].index("y:")])
    }
    assert starts == {table[1].index("Output shape")}


def test_an_indent_leaves_room_for_names():
    rows = [Row(f"r{depth}", "Dense", call_shapes=[(1,)], depth=depth, parent=depth - 1) for depth in range(40)]
    text = report_text(Report("n", "Net", rows, 0, 0, 0), line_length=40)
    assert all(f"r{depth}" in text for depth in range(40)) and max(map(len, text.splitlines())) <= 40


def test_a_long_name_goes_on_below_itself_indented():
    rows = [Row("m", "Model", call_shapes=[(1,)]), Row("x" * 30, "Dense", call_shapes=[(1,)], depth=1, parent=0)]
    table, _ = table_and_rest(report_text(Report("n", "Net", rows, 0, 0, 0), line_length=40))
    first, second = table[4:6]
    assert first.startswith("  x") and second.startswith("  ") and second[2] != " "
    assert first.split()[0] + second.split()[0] == "x" * 30


def test_words_and_shapes_stay_whole_where_there_is_room():
    table, _ = table_and_rest(report_text(report(), line_length=130))
    assert "a_convolution_with_a_very_long_name_indeed " in table[4] and "(None, 30, 30, 16)" in table[4]
    assert table[5].strip().startswith("(Conv2D)")


def test_a_table_without_room_for_all_folds_names_and_shapes_before_numbers():
    rows = [
        Row("max_pooling2d_12", "MaxPooling2D", call_shapes=[(None, 14, 14, 512)], activation_bytes=401_408,
            links=[Link("conv2d_12", 1)]),
        Row("conv2d_12", "Conv2D", call_shapes=[(None, 30, 30, 16)], num_params=2_359_808, flops=924_844_032,
            links=[Link("max_pooling2d_12", 0), Link("add", 0)]),
    ]  # fmt: skip
    options = {"show_trainable": True, "show_flops": True, "show_memory": True}
    table, _ = table_and_rest(report_text(Report("n", "Net", rows, 0, 0, 0), line_length=88, **options))
    assert table[1:] == [
        "                  Output",
        "Layer (type)      shape          Params  Connected to       Trained     FLOPs     Memory",
        "─" * 88,
        "max_pooling2d_12  (None, 14,          0  conv2d_12                          -  392.00 KB",
        "(MaxPooling2D)    14, 512)",
        "conv2d_12         (None, 30,  2,359,808  max_pooling2d_12,  yes      924.84 M          -",
        "(Conv2D)          30, 16)                add",
    ]


def test_positions_place_the_columns():
    for positions in ([0.3, 0.6, 0.75, 1.0], [36, 72, 90, 120]):
        table, _ = table_and_rest(report_text(report(), line_length=120, positions=positions))
        assert [table[1].index(word) for word in ("Layer", "Output", "Connected")] == [0, 36, 90]
        assert table[1].index("Params") + len("Params") == 88
        assert len(table[2]) == 120
    table, _ = table_and_rest(report_text(report(), line_length=120, positions=[0.3, 0.6, 0.75, 1.0], show_memory=True))
    assert table[1].rstrip().endswith("Memory") and 120 < len(table[1].rstrip()) <= 132


@pytest.mark.parametrize("line_length", [0, 39, -5, 80.0, "80"])
def test_a_length_without_room_is_refused(line_length):
    with pytest.raises(ArgumentError, match=r"A table needs some room") as caught:
        report_text(report(), line_length=line_length)
    assert "40 characters or more" in str(caught.value) and f"line_length={line_length!r}" in str(caught.value)


def test_an_unknown_style_is_refused():
    with pytest.raises(UnknownNameError, match="There is no style of a summary named 'keras3'") as caught:
        report_text(report(), style="keras3")
    assert "one of keras, keras2, torch" in str(caught.value)


# ---------------------------------------------------------------------- a failure
def test_a_failure_is_told_under_the_table():
    table, rest = table_and_rest(report_text(failed(), line_length=150))
    assert "FAILED" in table[-1] and table[-1].startswith("both (Concatenate)")
    assert rest[-1].splitlines() == [
        "FAILED in 'net/both': The shapes do not fit.",
        "  expected: (None, 4)",
        "  received: (None, 5)",
        "  fix:      flatten [bold]first[/bold]",
    ]


# ---------------------------------------------------------------------- where it goes
class Stream(io.StringIO):
    """Standard output that may be a terminal, in some encoding."""

    encoding = "utf-8"

    def __init__(self, terminal=False, encoding="utf-8"):
        super().__init__()
        self.terminal, self.encoding = terminal, encoding

    def isatty(self):
        return self.terminal

    def write(self, text):
        text.encode(self.encoding)
        return super().write(text)


@pytest.fixture
def output(monkeypatch):
    """Sets standard output, 100 columns wide, and gives what a report writes there."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")

    def write(found, stream, **options):
        monkeypatch.setattr(sys, "stdout", stream)
        print_report(found, **options)
        monkeypatch.undo()
        return stream.getvalue()

    return write


@pytest.mark.parametrize("style", STYLES)
def test_a_terminal_has_colours_and_the_failure_in_red(output, style):
    text = output(failed(), Stream(terminal=True), style=style)
    red = [line for line in text.splitlines() if "\x1b[1;31m" in line or "\x1b[31m" in line]
    assert any("FAILED" in line and "in 'net/both'" not in line for line in red)
    assert any("in 'net/both'" in line for line in red)
    assert not any("image (InputLayer)" in line for line in red)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert [line.rstrip() for line in plain.splitlines()] == [
        line.rstrip() for line in report_text(failed(), style=style, line_length=None).splitlines()
    ]


@pytest.mark.parametrize("style", STYLES)
def test_a_pipe_has_none(output, style):
    text = output(failed(), Stream(), style=style)
    assert text == report_text(failed(), style=style) + "\n" and "\x1b" not in text
    if style == "keras":
        assert "─────" in text and not any(line.endswith(" ") for line in text.splitlines())


def test_a_pipe_is_as_wide_as_the_environment_says(output, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert output(report(), Stream()) == report_text(report(), line_length=60) + "\n"


def test_a_file_without_these_letters_gets_what_it_can_hold(output):
    text = output(report(), Stream(encoding="ascii"))
    assert "-----" in text and "\\u6ce8" in text and "a_convolution_with" in text


def test_a_function_gets_the_whole_text_once(capsys):
    for style in STYLES:
        texts = []
        print_report(report(), print_fn=texts.append, style=style)
        assert texts == [report_text(report(), style=style)] and not texts[0].endswith("\n")
    assert capsys.readouterr().out == ""


@pytest.fixture
def notebook(monkeypatch):
    """An IPython with a kernel; gives what was displayed."""
    shown = []
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    module.display = types.ModuleType("IPython.display")
    module.display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    return shown


def test_a_notebook_shows_a_table_once(notebook, capsys):
    print_report(report(), show_flops=True)
    (shown,) = notebook
    assert capsys.readouterr().out == ""
    assert shown._repr_html_() == report().to_html(show_flops=True)
    assert repr(shown) == report_text(report(), show_flops=True)


def test_a_notebook_shows_the_styles_with_rules_as_text(notebook, output):
    text = output(failed(), Stream(terminal=True), style="keras2")
    assert notebook == [] and text == report_text(failed(), style="keras2") + "\n"


def test_rich_shows_nothing_in_a_notebook_by_itself(notebook, monkeypatch):
    expected = report_text(report())
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert report_text(report()) == expected and notebook == []


def test_a_report_as_text_is_its_table():
    assert str(report()) == report_text(report())
    assert repr(report()) == "<Report of Net 'net': 5 rows, 1,235,015 parameters>"
