"""Widths of labels, beside those of another library; a font for every character."""

from __future__ import annotations

import hashlib

import pytest
from fontTools.ttLib import TTFont
from PIL import ImageFont

from lamina.inspection.drawing.typeface import FALLBACK, clean, cut, runs, width_of


@pytest.mark.parametrize(
    "text", ["Conv2D", "(None, 28, 28, 1)", "a_rather_long_name_of_a_layer", "32 × (Lambda → Conv2D)"]
)
@pytest.mark.parametrize("bold", [False, True])
def test_widths_are_those_that_pillow_measures(text, bold):
    file = runs(text, bold)[0].file
    assert file.endswith("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    basic = ImageFont.truetype(file, 1000, layout_engine=ImageFont.Layout.BASIC)
    basic_width = sum(basic.getlength(character) for character in text)  # without kerning
    assert width_of(text, 1000, bold) == pytest.approx(basic_width, rel=2e-3)
    assert width_of(text, 12, bold) == pytest.approx(0.012 * width_of(text, 1000, bold))
    assert basic.getlength(text) <= 1.002 * width_of(text, 1000, bold)


@pytest.mark.parametrize("text", ["卷积层", "卷積層", "全结合層ドロップアウト", "（密集）", "注意力、归一化", "ﾌﾟｰﾘﾝｸﾞ"])
def test_chinese_and_japanese_have_real_glyphs(text):
    found = runs(text)
    assert "".join(run.text for run in found) == text
    for run in found:
        font = TTFont(run.file)
        glyphs = [font.getBestCmap()[ord(character)] for character in run.text]
        assert ".notdef" not in glyphs
        assert all(font["glyf"][glyph].numberOfContours != 0 for glyph in glyphs)
        basic = ImageFont.truetype(run.file, 1000, layout_engine=ImageFont.Layout.BASIC)
        assert run.width * 1000 == pytest.approx(sum(map(basic.getlength, run.text)), rel=5e-3)


def test_the_fallback_is_used_only_for_what_dejavu_lacks():
    found = runs("Dense_密集_1")
    assert [(run.text, run.file == str(FALLBACK)) for run in found] == [
        ("Dense_", False),
        ("密集", True),
        ("_1", False),
    ]
    assert width_of("Dense_密集_1", 10) == pytest.approx(width_of("Dense_", 10) + 20 + width_of("_1", 10), rel=0.02)


def test_the_fallback_is_the_file_that_its_note_describes():
    note = FALLBACK.with_name("FALLBACK.md").read_text(encoding="utf-8")
    data = FALLBACK.read_bytes()
    assert hashlib.sha256(data).hexdigest() in note and len(data) < 2.5e6
    font = TTFont(FALLBACK)
    assert f"{len(font.getBestCmap()):,} characters" in note
    assert "Droid Sans Fallback" in str(font["name"].getDebugName(1)) and "Google" in str(font["name"].getDebugName(0))


def test_a_character_of_no_font_is_replaced():
    assert [run.text for run in runs("a\U0001fae0b")] == ["a\N{REPLACEMENT CHARACTER}b"]


@pytest.mark.parametrize("width", [0, 20, 50, 80, 200])
def test_what_is_cut_fits(width):
    text = "a_rather_long_name_全连接"
    found = cut(text, width, 11)
    assert found == text if width == 200 else found.endswith("…") and text.startswith(found[:-1])
    assert width_of(found, 11) <= max(width, width_of("…", 11))


def test_a_text_of_a_million_characters_is_cut_at_once():
    assert len(cut("x" * 1_000_000, 100, 11)) < 30


def test_texts_are_made_fit_for_files():
    assert clean("a\nb\tc\x00\ud800\ufffe") == "a b" + "\N{REPLACEMENT CHARACTER}c" + "\N{REPLACEMENT CHARACTER}" * 3
    assert clean("é 卷 ") == "é 卷 "
