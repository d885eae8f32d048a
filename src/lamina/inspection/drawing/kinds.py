"""What kind of thing a layer is, by its class, and the colours of the kinds."""

from __future__ import annotations

import re
from typing import NamedTuple


class Colours(NamedTuple):
    """The colours of a box, as `#rrggbb`.

    Attributes:
        fill: of its inside.
        line: of its outline.
    """

    fill: str
    line: str


class Paper(NamedTuple):
    """The colours of all that is no box.

    Attributes:
        back: behind everything.
        edge: edges and arrowheads.
        frame: the inside of a frame around a nested model.
        rim: the outline of a frame.
        strong: the first line of a box.
        plain: other text.
        muted: labels.
    """

    back: str
    edge: str
    frame: str
    rim: str
    strong: str
    plain: str
    muted: str


PAPER = Paper("#ffffff", "#7b8794", "#f7f9fb", "#c3ccd6", "#14202e", "#33414f", "#556371")
DARK_PAPER = Paper("#14181d", "#8b98a7", "#1b2127", "#4a5663", "#f2f5f8", "#d3dae2", "#a3afbc")

COLOURS = {
    "io": Colours("#e8edf3", "#66788c"),
    "convolution": Colours("#dfedfd", "#3f7fcb"),
    "pooling": Colours("#d9f2ee", "#2e9487"),
    "dense": Colours("#e9e4fb", "#7a62ca"),
    "recurrent": Colours("#fde9d8", "#d0762c"),
    "attention": Colours("#fbe3f5", "#b24d9f"),
    "normalization": Colours("#e6f3da", "#6f9a3c"),
    "activation": Colours("#fcf2c9", "#b8941b"),
    "merge": Colours("#fde2e7", "#cd5570"),
    "other": Colours("#f1f3f5", "#8793a0"),
}
"""The colours on white paper by kind."""

DARK_COLOURS = {
    "io": Colours("#2b343e", "#8296ab"),
    "convolution": Colours("#1b3350", "#5b9be6"),
    "pooling": Colours("#143a36", "#3fb3a4"),
    "dense": Colours("#302a52", "#9a85e6"),
    "recurrent": Colours("#47301a", "#e39250"),
    "attention": Colours("#452440", "#d272c0"),
    "normalization": Colours("#2b3a1b", "#8fbb58"),
    "activation": Colours("#423815", "#d3b13c"),
    "merge": Colours("#4b222b", "#e67a92"),
    "other": Colours("#262c33", "#7f8c99"),
}
"""The colours on dark paper by kind."""

_MERGES = "Add|Subtract|Multiply|Average|Maximum|Minimum|Concatenate|Dot|add|sub|mul|cat|concatenate|stack|matmul|bmm"
_PATTERNS = (
    ("io", "InputLayer|Input"),
    ("pooling", r".*Pool(ing)?\d?D?|.*Pool\dd|.*_pool\dd"),
    ("convolution", r".*Conv(LSTM)?\d[Dd](Transpose)?|.*Conv.*|conv\w*\dd"),
    ("recurrent", r".*LSTM(Cell)?|.*GRU(Cell)?|.*RNN(Cells?)?|Bidirectional"),
    ("attention", ".*Attention|.*Embedding|embedding|scaled_dot_product_attention"),
    ("normalization", r".*Normalization|.*Norm(\dd)?|.*_norm"),
    ("dense", "Dense|EinsumDense|.*Linear|linear"),
    (
        "activation",
        r".*Activation|.*ReLU\d?|[PSCG]?[Ee]LU|SiLU|Mish|(Log)?[Ss]oftmax|[Ss]igmoid|[Tt]anh|relu\d?|gelu|silu",
    ),
    ("merge", _MERGES),
)


def kind_of(class_name: str) -> str:
    """The kind of a layer or function: a key of `COLOURS`.

    Args:
        class_name: the name of its class, or of the function.

    Example:
        >>> kind_of("Conv2D"), kind_of("MaxPooling2D"), kind_of("LSTM"), kind_of("Flatten")
        ('convolution', 'pooling', 'recurrent', 'other')
    """
    return next((kind for kind, pattern in _PATTERNS if re.fullmatch(pattern, class_name)), "other")
