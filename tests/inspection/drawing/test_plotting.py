"""`plot_model`: every kind of file, every option, every mistake; nothing half-written; the same file each time."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from networks_to_draw import NETWORKS, chain, fold_branches, nested, resnext, several
from PIL import Image

import lamina
from lamina.errors import ArgumentError, LaminaError, NotBuiltError
from lamina.inspection import notebook_html, plot_model
from lamina.inspection.drawing import plotting
from lamina.layers import Dense, Input
from lamina.models import Sequential

SVG = "{http://www.w3.org/2000/svg}"
HERE = Path(__file__).parent


def boxes(file):
    """For each box of an SVG its texts."""
    found = ElementTree.parse(file).iter(f"{SVG}g")
    return [
        [text.text for text in group.iter(f"{SVG}text")]
        for group in found
        if group.get("class", "").startswith("node ")
    ]


def mixed(name="mixed"):
    return Sequential(
        [Input((4,)), Dense(3, activation="relu", name="first"), Dense(2, name="last", trainable=False)], name=name
    )


def test_a_text_of_an_svg_says_how_wide_it_is(tmp_path):
    """So that it stays in its box in a font of another width."""
    plot_model(mixed(), tmp_path / "m.svg", show_shapes=True)
    for group in ElementTree.parse(tmp_path / "m.svg").iter(f"{SVG}g"):
        if group.get("class", "").startswith("node "):
            (box,) = group.findall(f"{SVG}rect")
            for text in group.findall(f"{SVG}text"):
                left, width = float(text.get("x")), float(text.get("textLength"))
                assert float(box.get("x")) < left and left + width < float(box.get("x")) + float(box.get("width"))


def test_by_default_boxes_show_the_class_alone(tmp_path):
    plot_model(mixed(), tmp_path / "m.svg")
    assert boxes(tmp_path / "m.svg") == [["Dense"], ["Dense"]]


@pytest.mark.parametrize(
    ("option", "first", "last"),
    [
        ("show_layer_names", ["first"], ["last"]),
        ("show_shapes", ["input", "(None, 4)", "output", "(None, 3)"], ["input", "(None, 3)", "output", "(None, 2)"]),
        ("show_dtype", ["dtype", "float32"], ["dtype", "float32"]),
        ("show_layer_activations", ["activation", "relu"], ["activation", "linear"]),
        ("show_trainable", ["trainable", "yes"], ["trainable", "no"]),
    ],
)
def test_options_add_lines_to_the_boxes(option, first, last, tmp_path):
    plot_model(mixed(), tmp_path / "m.svg", **{option: True})
    assert boxes(tmp_path / "m.svg") == [["Dense", *first], ["Dense", *last]]


def test_shapes_of_inputs_merges_and_layers_that_are_not_called(tmp_path):
    plot_model(several(), tmp_path / "m.svg", show_shapes=True)
    found = boxes(tmp_path / "m.svg")
    assert ["InputLayer", "output", "(None, 3)"] in found
    assert ["Concatenate", "input", "[(None, 4), (None, 3)]", "output", "(None, 7)"] in found
    plot_model(NETWORKS["subclass"](), tmp_path / "s.svg", show_shapes=True)
    assert ["Dense", "output", "not called"] in boxes(tmp_path / "s.svg")


def test_models_inside_are_opened_on_request(tmp_path):
    plot_model(nested(), tmp_path / "m.svg", show_layer_names=True)
    assert ["Functional", "deep"] in boxes(tmp_path / "m.svg") and len(boxes(tmp_path / "m.svg")) == 6
    plot_model(nested(), tmp_path / "m.svg", show_layer_names=True, expand_nested=True)
    assert len(boxes(tmp_path / "m.svg")) == 4 + 2 + 7
    frames = [
        text.text
        for group in ElementTree.parse(tmp_path / "m.svg").iter(f"{SVG}g")
        if group.get("class") == "heading"
        for text in group.findall(f"{SVG}text")
    ]
    assert frames == ["deep (Functional)", "inner (Functional)", "tail (Sequential)"]


def test_large_models_are_folded_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "folded", fold_branches)
    model = resnext(blocks=1)
    counts = {}
    for fold in (None, True, False):
        plot_model(model, tmp_path / "m.svg", fold=fold)
        counts[fold] = len(boxes(tmp_path / "m.svg"))
    assert counts == {None: 4, True: 4, False: 67}
    plot_model(model, tmp_path / "m.svg")
    assert ["32 × (Lambda → Conv2D)", "320 parameters"] in boxes(tmp_path / "m.svg")
    small = resnext(blocks=1, branches=4)
    plot_model(small, tmp_path / "m.svg")
    assert len(boxes(tmp_path / "m.svg")) == 11


def test_a_png_has_the_size_of_the_picture_at_its_dpi(tmp_path):
    picture = plot_model(mixed(), tmp_path / "m.png", show_shapes=True, dpi=192)
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(tmp_path / "m.png") as image:
        assert abs(image.width - 2 * picture.size[0]) <= 1 and abs(image.height - 2 * picture.size[1]) <= 1
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours = {tuple(colour) for colour in np.unique(pixels, axis=0)}
    assert {(0xE9, 0xE4, 0xFB), (0x7A, 0x62, 0xCA), (0xFF, 0xFF, 0xFF)} <= colours
    assert (pixels == (0x14, 0x20, 0x2E)).all(axis=1).sum() > 100  # the letters of the class


def test_a_png_that_would_be_too_large_has_fewer_dots_an_inch(tmp_path, monkeypatch):
    from lamina.inspection.drawing import raster

    monkeypatch.setattr(raster, "LONGEST", 500)
    picture = plot_model(chain(), tmp_path / "m.png", dpi=1e9)
    with Image.open(tmp_path / "m.png") as image:
        assert image.height in (499, 500)
        assert image.width / image.height == pytest.approx(picture.size[0] / picture.size[1], rel=0.02)
    monkeypatch.setattr(raster, "MOST_PIXELS", 10_000)
    plot_model(chain(), tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as image:
        assert 9_000 < image.width * image.height <= 10_000


def test_a_pdf_is_one_page_with_fonts_in_it(tmp_path):
    plot_model(mixed("卷积"), tmp_path / "m.pdf", show_shapes=True)
    data = (tmp_path / "m.pdf").read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", data)) == 1 and data.count(b"/FontFile2") >= 2
    assert b"CreationDate" not in data


def test_a_very_long_pdf_stays_within_what_readers_can_show(tmp_path):
    plot_model(chain(400), tmp_path / "m.pdf", fold=False)
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", (tmp_path / "m.pdf").read_bytes())
    assert float(box.group(2)) == pytest.approx(14_400, abs=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_written_as_everything(name, tmp_path):
    model = NETWORKS[name]()
    before = torch.get_rng_state(), [module.training for module in model.modules()]
    for ending in plotting.ENDINGS:
        picture = plot_model(model, str(tmp_path / f"m{ending}"), show_shapes=True, expand_nested=True, dpi=50)
        assert picture.path == tmp_path / f"m{ending}" and picture.path.stat().st_size > 1000
    assert torch.equal(torch.get_rng_state(), before[0])
    assert [module.training for module in model.modules()] == before[1]
    assert len(os.listdir(tmp_path)) == len(plotting.ENDINGS)


DRAW = """
import sys
sys.path.insert(0, sys.argv[2])
from networks_to_draw import nested, resnext
from lamina.inspection import plot_model
for name, model in (("nested", nested()), ("resnext", resnext())):
    for ending in ("svg", "png", "pdf", "html"):
        plot_model(model, f"{sys.argv[1]}/{name}.{ending}", show_layer_names=True, expand_nested=True, dpi=60)
"""


def test_two_processes_draw_the_same_bytes(tmp_path):
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(lamina.__file__).parents[1])}
        support = str(HERE.parents[1] / "support")
        subprocess.run(
            [sys.executable, "-W", "error:::lamina", "-c", DRAW, folder, support], env=environment, check=True
        )
        found.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())})
    assert found[0] == found[1] and len(found[0]) == 8


@pytest.mark.parametrize(
    ("arguments", "words", "fix"),
    [
        ({"to_file": "m.gif"}, "does not write this kind of file", "pass to_file='m.png'"),
        ({"to_file": "model"}, "does not write this kind of file", "pass to_file='model.png'"),
        ({"to_file": ""}, "does not write this kind of file", "pass to_file='model.png'"),
        ({"to_file": None}, "to_file is the name of the file", 'pass to_file="model.png"'),
        ({"rankdir": "UP"}, "no such direction", 'pass rankdir="TB"'),
        ({"dpi": 0}, "dpi is the number of pixels an inch", "pass dpi=200"),
        ({"dpi": float("nan")}, "dpi is the number of pixels an inch", "pass dpi=200"),
        ({"dpi": "high"}, "dpi is the number of pixels an inch", "pass dpi=200"),
        ({"to_file": "no/such/folder/m.png"}, "folder of to_file does not exist", "make the folder 'no/such/folder'"),
        ({"to_file": "folder.png"}, "to_file is a folder", "add a name such as model.png"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, words, fix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ArgumentError, match=words) as caught:
        plot_model(mixed(), **arguments)
    assert fix in str(caught.value)
    assert os.listdir(tmp_path) == ["folder.png"]


def test_models_that_cannot_be_drawn_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotBuiltError, match="is not built"):
        plot_model(Sequential([Dense(2)]))
    with pytest.raises(ArgumentError, match="plot_model draws models") as caught:
        plot_model([1, 2])
    assert "a list" in str(caught.value)
    monkeypatch.setattr(plotting, "_MOST_BOXES", 10)
    with pytest.raises(ArgumentError, match="too many layers to be drawn") as caught:
        plot_model(chain(11))
    assert "fold=True" in str(caught.value) and "11" in str(caught.value)
    plot_model(chain(10), "m.svg")
    assert os.listdir(tmp_path) == ["m.svg"]
    monkeypatch.setattr(plotting, "_MOST_BOXES", 6)
    plot_model(nested(), "m.html")  # of a page, what it begins with counts
    with pytest.raises(ArgumentError, match="too many layers"):
        plot_model(nested(), "m.html", expand_nested=True)


def test_too_many_long_links_are_refused(tmp_path, monkeypatch):
    from lamina.inspection.drawing import layers

    monkeypatch.setattr(layers, "_MOST_BENDS", 40)
    with pytest.raises(ArgumentError, match="too many long links") as caught:
        plot_model(NETWORKS["dense_net"](), tmp_path / "m.svg")
    assert "draw a part of the model" in str(caught.value)
    assert issubclass(ArgumentError, LaminaError)


def test_a_file_is_replaced_only_when_the_new_one_is_whole(tmp_path, monkeypatch):
    file = tmp_path / "m.svg"
    file.write_text("old")

    def fails(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(OSError, match="no space left"):
            plot_model(mixed(), file)
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["m.svg"]
    link = tmp_path / "link.svg"
    link.symlink_to(file)
    plot_model(mixed(), link)
    assert link.is_symlink() and "<svg" in file.read_text()
    (tmp_path / "new").touch()
    assert file.stat().st_mode == (tmp_path / "new").stat().st_mode


def test_names_with_any_characters_are_safe(tmp_path):
    wild = "a<b>&\"'\x00\x1b\ud800\uffff\n</script><img src=x onerror=alert(1)>]]>"
    model = Sequential([Input((2,)), Dense(2, name="n")], name="m")
    model.layers[0].name = model.name = wild
    for ending in plotting.ENDINGS:
        plot_model(model, tmp_path / f"m{ending}", show_layer_names=True)
    texts = boxes(tmp_path / "m.svg")
    assert texts[0][1].startswith("a<b>&\"'") and texts[0][1].endswith("…")
    titles = [title.text for title in ElementTree.parse(tmp_path / "m.svg").iter(f"{SVG}title")]
    assert titles[1].endswith("</script><img src=x onerror=alert(1)>]]> (Dense)")  # the whole of it
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert "<img" not in page and page.count("</script>") == 3


def test_chinese_names_have_glyphs(tmp_path):
    """With a font that lacks them, both pictures would show the same empty boxes."""
    pictures = []
    for name in ("卷积层", "全连接"):
        plot_model(Sequential([Input((2,)), Dense(2, name=name)]), tmp_path / "m.png", show_layer_names=True)
        with Image.open(tmp_path / "m.png") as image:
            pictures.append(np.asarray(image.convert("L")))
    assert pictures[0].shape == pictures[1].shape
    assert (np.abs(pictures[0].astype(int) - pictures[1]) > 100).sum() > 100


def test_a_notebook_shows_the_picture_itself(tmp_path):
    model = mixed()
    svg = plot_model(model, tmp_path / "m.svg")
    assert svg._repr_mimebundle_() == {"image/svg+xml": (tmp_path / "m.svg").read_text()}
    assert repr(svg) == f"<Picture '{tmp_path / 'm.svg'}'>"
    data, size = plot_model(model, tmp_path / "m.png")._repr_mimebundle_()
    assert data == {"image/png": (tmp_path / "m.png").read_bytes()}
    assert size == {"image/png": {"width": round(svg.size[0]), "height": round(svg.size[1])}}
    page = plot_model(model, tmp_path / "m.html")._repr_mimebundle_()["text/html"]
    assert page.startswith("<iframe srcdoc=") and "<script" not in page
    assert list(plot_model(model, tmp_path / "m.pdf")._repr_mimebundle_()) == ["text/plain"]


def test_a_model_in_a_notebook_is_a_picture_with_a_line_of_totals():
    text = notebook_html(mixed("<mine>"))
    assert "Sequential <b>&lt;mine&gt;</b>: 23 parameters, 15 of them trained, 92 bytes." in text
    assert text.count('class="edge"') == 1 and "(None, 4)" in text and "first" in text
    assert notebook_html(Sequential([Dense(2)], name="m")).startswith("<p>Sequential <b>m</b>, not built yet")


def test_a_model_too_large_for_a_picture_still_has_its_totals(monkeypatch):
    monkeypatch.setattr(plotting, "_MOST_BOXES", 1)
    text = notebook_html(mixed())
    assert "too many layers" in text and "23 parameters" in text and "<svg" not in text
