"""A scene as PNG or PDF, by matplotlib's renderers and without pyplot."""

from __future__ import annotations

import io
import math
from typing import Any

from lamina.inspection.drawing.boxes import RADIUS, Text
from lamina.inspection.drawing.kinds import COLOURS, PAPER
from lamina.inspection.drawing.scene import Placed, Scene
from lamina.inspection.drawing.svg import title_corner
from lamina.inspection.drawing.typeface import runs

MOST_PIXELS, LONGEST = 120e6, 30_000
"""A PNG has no more pixels in all, and no more a side."""

_LONGEST_PAGE = 14_400.0  # points of 1/72 inch: what readers of PDF can show
_ROUND = 0.5522847498  # how far the control points of a quarter of a circle are from its ends, in radii


def dpi_that_fits(scene: Scene, dpi: float) -> float:
    """`dpi`, or less if the picture would be too large.

    Args:
        scene: the picture.
        dpi: pixels an inch.

    Example:
        >>> dpi_that_fits(Scene(96 * 1000, 96, [], [], []), 200)
        30.0
    """
    width, height = scene.width / 96, scene.height / 96
    return min(dpi, LONGEST / max(width, height), math.sqrt(MOST_PIXELS / (width * height)))


def to_png(scene: Scene, dpi: float) -> bytes:
    """The bytes of a PNG file.

    Args:
        scene: what to draw.
        dpi: pixels an inch, lowered where `dpi_that_fits` says so.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    dpi = dpi_that_fits(scene, dpi)
    return _written(scene, dpi, 1.0, FigureCanvasAgg, "print_png", metadata={"Software": None})


def to_pdf(scene: Scene) -> bytes:
    """The bytes of a PDF file of one page, which is made smaller where it would be over 5 m long.

    Args:
        scene: what to draw.
    """
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    scale = min(1.0, _LONGEST_PAGE / (max(scene.width, scene.height) * 0.75))
    nothing = {"CreationDate": None, "Creator": None, "Producer": None}
    return _written(scene, 72, scale, FigureCanvasPdf, "print_pdf", metadata=nothing)


def _written(scene: Scene, dpi: float, scale: float, canvas: Any, method: str, **options: Any) -> bytes:
    """The file that one of matplotlib's canvases makes of a scene."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"pdf.fonttype": 42, "path.simplify": False, "path.snap": False}):
        figure = Figure(figsize=(scene.width / 96 * scale, scene.height / 96 * scale), dpi=dpi, facecolor=PAPER.back)
        figure.add_artist(_artist(scene, scale))
        file = io.BytesIO()
        getattr(canvas(figure), method)(file, **options)
    return file.getvalue()


def _artist(scene: Scene, scale: float) -> Any:
    """All of a scene as one artist: thousands of matplotlib's own would take seconds."""
    from matplotlib.artist import Artist

    class Drawing(Artist):
        def draw(self, renderer: Any) -> None:
            _Pen(renderer, scene, scale * self.figure.dpi / 96, self.figure.bbox.height).draw()

    return Drawing()


class _Pen:
    """Draws with a renderer.

    Args:
        renderer: one of matplotlib's.
        scene: what to draw.
        scale: the renderer's units in a point.
        height: of the figure, in the renderer's units.
    """

    def __init__(self, renderer: Any, scene: Scene, scale: float, height: float) -> None:
        from matplotlib.transforms import Affine2D

        self._renderer, self._scene, self._scale, self._height = renderer, scene, scale, height
        self._to_paper = Affine2D().scale(scale, -scale).translate(0, height)
        self._fonts: dict[tuple[str, float], Any] = {}

    def draw(self) -> None:
        """Everything, from back to front."""
        for placed in self._scene.frames:
            self._rectangle(placed, RADIUS + 2, PAPER.frame, PAPER.rim, dashes=(5, 3))
        for placed in self._scene.boxes:
            if placed.box.stacked:
                self._rectangle(placed._replace(x=placed.x + 4, y=placed.y + 4), RADIUS, *COLOURS[placed.box.kind])
        self._curves()
        for placed in self._scene.frames:
            if placed.title is not None:
                self._heading(placed.title, *title_corner(placed))
        for placed in self._scene.boxes:
            fill, line = COLOURS[placed.box.kind]
            self._rectangle(placed, RADIUS, fill, line)
            if placed.box.rule is not None:
                y = placed.y + placed.box.rule
                self._path([("M", [(placed.x, y)]), ("L", [(placed.x + placed.width, y)])], None, line, 1, alpha=0.45)
            for text in placed.box.texts:
                self._text(text, placed.x + text.x, placed.y + text.y)

    def _curves(self) -> None:
        for curve in self._scene.curves:
            self._path(curve.steps, None, PAPER.edge, 1.4)
            tip, *sides = curve.head
            self._path([("M", [tip]), *(("L", [side]) for side in sides), ("Z", [tip])], PAPER.edge, PAPER.edge, 0)

    def _heading(self, title: Text, x: float, y: float) -> None:
        """The title of a frame, over the edges that may pass behind it."""
        left, right, top, bottom = x - 3, x + title.width + 3, y - title.size, y + 0.3 * title.size
        steps = [("M", [(left, top)]), ("L", [(right, top)]), ("L", [(right, bottom)]), ("L", [(left, bottom)])]
        self._path([*steps, ("Z", [(left, top)])], PAPER.frame, PAPER.frame, 0)
        self._text(title, x, y)

    def _rectangle(self, placed: Placed, radius: float, fill: str, line: str, dashes: Any = None) -> None:
        left, top, right, bottom = placed.x, placed.y, placed.x + placed.width, placed.y + placed.height
        r, k = radius, radius * (1 - _ROUND)
        steps = [
            ("M", [(left + r, top)]),
            ("L", [(right - r, top)]),
            ("C", [(right - k, top), (right, top + k), (right, top + r)]),
            ("L", [(right, bottom - r)]),
            ("C", [(right, bottom - k), (right - k, bottom), (right - r, bottom)]),
            ("L", [(left + r, bottom)]),
            ("C", [(left + k, bottom), (left, bottom - k), (left, bottom - r)]),
            ("L", [(left, top + r)]),
            ("C", [(left, top + k), (left + k, top), (left + r, top)]),
            ("Z", [(left + r, top)]),
        ]
        self._path(steps, fill, line, 1.3, dashes)

    def _path(
        self, steps: list[Any], fill: str | None, line: str, width: float, dashes: Any = None, alpha: float = 1.0
    ) -> None:
        from matplotlib.colors import to_rgba
        from matplotlib.path import Path

        codes = {"M": Path.MOVETO, "L": Path.LINETO, "C": Path.CURVE4, "Z": Path.CLOSEPOLY}
        vertices = [point for _, points in steps for point in points]
        path = Path(vertices, [codes[letter] for letter, points in steps for _ in points])
        context = self._renderer.new_gc()
        context.set_foreground(to_rgba(line, alpha), isRGBA=True)
        context.set_alpha(alpha)
        context.set_linewidth(width * self._scale)
        if dashes:
            context.set_dashes(0, [length * self._scale for length in dashes])
        self._renderer.draw_path(context, path, self._to_paper, None if fill is None else to_rgba(fill))
        context.restore()

    def _text(self, text: Text, x: float, y: float) -> None:
        from matplotlib.colors import to_rgba

        context = self._renderer.new_gc()
        context.set_foreground(to_rgba(getattr(PAPER, text.tone)), isRGBA=True)
        for run in runs(text.text, text.bold):
            left, base = self._to_paper.transform((x, y))
            base = self._height - base if self._renderer.flipy() else base
            self._renderer.draw_text(context, left, base, run.text, self._font(run.file, text.size), 0, ismath=False)
            x += run.width * text.size
        context.restore()

    def _font(self, file: str, size: float) -> Any:
        from matplotlib.font_manager import FontProperties

        known = self._fonts.get((file, size))
        if known is None:
            inches = size * self._scale / self._renderer.points_to_pixels(72.0)
            known = self._fonts[file, size] = FontProperties(fname=file, size=inches * 72)
        return known
