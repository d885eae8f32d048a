"""How wide a text is, and in which font each of its characters stands."""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path
from typing import NamedTuple

FALLBACK = Path(__file__).parent / "fonts" / "fallback.ttf"
"""Has the Chinese and Japanese characters that DejaVu Sans lacks, see `fonts/FALLBACK.md`."""

_MISSING = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class Run(NamedTuple):
    """A part of a text in one font.

    Attributes:
        file: the font's file.
        text: the characters, those that no font has replaced.
        width: in units of the font's size.
    """

    file: str
    text: str
    width: float


class _Font:
    """A font's advance widths."""

    def __init__(self, file: Path) -> None:
        from fontTools.ttLib import TTFont

        self.file = str(file)
        with TTFont(self.file, lazy=True) as font:
            advances = font["hmtx"].metrics
            unit = font["head"].unitsPerEm
            self.widths = {code: advances[name][0] / unit for code, name in font.getBestCmap().items()}


def runs(text: str, bold: bool = False) -> list[Run]:
    """Cut a text where its font changes.

    Args:
        text: the text.
        bold: whether DejaVu Sans is bold; the fallback has one weight.

    Example:
        >>> [run.text for run in runs("conv 卷积 1")]
        ['conv ', '卷积', ' 1']
    """
    found: list[Run] = []
    for character in text:
        font = _font_of(character, bold)
        if font is None:
            character, font = _MISSING, _dejavu(bold)
        width = font.widths[ord(character)]
        if found and found[-1].file == font.file:
            last = found.pop()
            found.append(Run(font.file, last.text + character, last.width + width))
        else:
            found.append(Run(font.file, character, width))
    return found


@functools.lru_cache(maxsize=4096)
def width_of(text: str, size: float, bold: bool = False) -> float:
    """The width of a text.

    Args:
        text: the text.
        size: of the font.
        bold: whether it is bold.

    Example:
        >>> round(width_of("Dense", 10), 1)
        31.6
    """
    widths = _dejavu(bold).widths
    try:
        return size * sum([widths[ord(character)] for character in text])
    except KeyError:
        return size * sum(run.width for run in runs(text, bold))


def cut(text: str, width: float, size: float, bold: bool = False) -> str:
    """A text no wider than `width`, with an ellipsis where something is left out.

    Args:
        text: the text.
        width: the most that it may take.
        size: of the font.
        bold: whether it is bold.

    Example:
        >>> cut("a_rather_long_name", 60, 10), cut("short", 60, 10)
        ('a_rather_l…', 'short')
    """
    if width_of(text[:400], size, bold) <= width and len(text) <= 400:
        return text
    left, kept = width - width_of(_ELLIPSIS, size, bold), ""
    for character in text:
        left -= width_of(character, size, bold)
        if left < 0:
            break
        kept += character
    return kept.rstrip() + _ELLIPSIS


def wrap(text: str, width: float, size: float, bold: bool = False, most: int = 3) -> list[str]:
    """A text in a few lines, broken between words; what the last one cannot hold is cut.

    Args:
        text: the text.
        width: the most that a line may take.
        size: of the font.
        bold: whether it is bold.
        most: the number of lines.

    Example:
        >>> wrap("Conv2D → Conv2D → Add", 80, 10)
        ['Conv2D →', 'Conv2D → Add']
    """
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and (len(lines) == most or width_of(longer, size, bold) <= width):
            lines[-1] = longer
        else:
            lines.append(word)
    return [cut(line, width, size, bold) for line in lines]


def clean(text: str) -> str:
    """A text in one line, with nothing that a file cannot hold.

    Args:
        text: the text.

    Example:
        >>> clean("two\\nlines") == "two lines" and clean("\\x00") == "\\N{REPLACEMENT CHARACTER}"
        True
    """
    text = " ".join(text.split("\n"))
    return "".join(_MISSING if _forbidden(character) else character for character in text)


def _forbidden(character: str) -> bool:
    """Whether XML or UTF-8 cannot hold a character: controls, halves of pairs, what is no character."""
    return unicodedata.category(character) in ("Cc", "Cs") or ord(character) & 0xFFFE == 0xFFFE


def _font_of(character: str, bold: bool) -> _Font | None:
    """The font that has a character."""
    if ord(character) in _dejavu(bold).widths:
        return _dejavu(bold)
    return _fallback() if ord(character) in _fallback().widths else None


@functools.cache
def _dejavu(bold: bool) -> _Font:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return _Font(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)


@functools.cache
def _fallback() -> _Font:
    """The font in the package."""
    return _Font(FALLBACK)
