"""A profile as data, as a table in a terminal and as text in a file."""

from __future__ import annotations

import io
import json

import pytest

from lamina.errors import UnknownNameError
from lamina.inspection import Profile, ProfileRow


def made(train=True):
    many = tuple(f"conv{i}" for i in range(6))
    rows = [
        ProfileRow("conv + bn", "Conv2D + BatchNorm", ("conv", "bn"), 1, 2.0, 4.0, 12e6, 1234, 4936, 3 << 20, 8.0),
        ProfileRow(" + ".join(many), " + ".join(["Conv2D"] * 6), many, 2, 1.0, 0.5, 0, 0, 0, 2000, 8.0),
        ProfileRow("outside layers", "", (), 0, 0.25, 0.25, peak=8.0),
    ]  # fmt: skip
    return Profile("net", "Functional", rows, 7.5, 8.0, train, 32, 10, "cpu", "float32", [(32, 3)])


def test_the_rows_add_up():
    found = made()
    assert (found.total_ms, found.forward_ms, found.backward_ms) == (8.0, 3.25, 4.75)
    assert found.difference == pytest.approx(8 / 7.5 - 1) and found.flops == 12e6
    assert (found.num_params, found.output_bytes) == (1234, (3 << 20) + 2000)
    row = found.rows[0]
    assert (row.ms, row.gflops, row.of_peak) == (6.0, pytest.approx(2.0), pytest.approx(0.25))
    assert found.rows[2].gflops == 0


def test_nothing_is_divided_by_nothing():
    row = ProfileRow("a", "A")
    assert (row.gflops, row.of_peak) == (0, 0)
    assert Profile("n", "N", [row], 0.0, 0.0, True, 1, 1, "cpu", "float32").difference == 0
    assert "unknown" in str(Profile("n", "N", [row], 0.0, 0.0, True, 1, 1, "cpu", "float32"))


def test_a_layer_is_found_by_its_name_also_among_others():
    found = made()
    assert found.find("bn") is found.rows[0] and found.find("outside layers") is found.rows[2]
    assert found.find("conv3") is found.rows[1]
    with pytest.raises(UnknownNameError, match="no layer named 'konv'") as caught:
        found.find("konv")
    assert "did you mean 'conv'?" in str(caught.value)


def test_all_of_it_is_plain_data():
    found = json.loads(json.dumps(made().to_dict(), allow_nan=False))
    assert found["total_ms"] == 8.0 and found["step_ms"] == 7.5 and found["peak"] == 8.0
    assert found["rows"][0]["layers"] == ["conv", "bn"] and found["rows"][0]["ms"] == 6.0
    assert found["rows"][0]["of_peak"] == pytest.approx(0.25) and found["input_shapes"] == [[32, 3]]


def test_the_text_is_plain_and_says_all():
    lines = str(made()).splitlines()
    assert lines[0] == "Functional: net, a step of training, batch of 32"
    assert lines[2].split()[:4] == ["Layer", "(type)", "Forward", "ms"]
    assert " ".join(lines[4].split()).endswith("2.000 4.000 6.000 75.0% 12 M 2.0 25% 3.00 MB 1,234")
    assert "conv0 + conv1 + conv2 + conv3 + 2 more (Conv2D, called 2 times)" in lines[5]
    assert lines[5].split()[-6:] == ["-", "-", "-", "1.95", "KB", "-"]
    assert "All rows: 8.000 ms (forward 3.250, backward 4.750). The step unwatched: 7.500 ms (+6.7%)." in lines[-2]
    assert lines[-1] == "cpu, float32. Peak: 8 GFLOP/s in a large product."
    assert all(line == line.rstrip() and "\x1b" not in line for line in lines)


def test_inference_has_no_columns_for_the_way_back():
    text = str(made(train=False))
    assert "Backward" not in text and "Both" not in text and "inference" in text


def test_it_is_written_to_a_file_as_text_and_to_a_terminal_in_colour(tmp_path, capsys):
    with open(tmp_path / "profile.txt", "w", encoding="utf-8") as file:
        made().show(file)
    written = (tmp_path / "profile.txt").read_text(encoding="utf-8")
    assert [line.rstrip() for line in written.splitlines()] == str(made()).splitlines()

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    made().show(terminal)
    assert "\x1b[" in terminal.getvalue()
    made().show()
    assert "conv + bn" in capsys.readouterr().out


def test_a_notebook_and_a_prompt_show_it():
    found = made()
    found.name = "<net>"
    assert found._repr_html_().startswith("<pre>Functional: &lt;net&gt;")
    assert repr(found) == "<Profile of Functional '<net>', training: 3 rows, 7.5 ms a step>"
