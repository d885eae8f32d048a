"""What `plot_model` returns: a file that a notebook shows."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any


class Picture:
    """A picture that has been written to a file. A notebook shows it; elsewhere it says where it is.

    Args:
        path: the file.
        size: its width and height in points of 1/96 inch, as it is shown; a page has none.
    """

    def __init__(self, path: Path, size: tuple[float, float] | None = None) -> None:
        self.path = path
        self.size = size

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        ending = self.path.suffix.lower()
        if ending == ".svg":
            return {"image/svg+xml": self.path.read_text(encoding="utf-8")}
        if ending == ".png":
            size = dict(zip(("width", "height"), map(round, self.size or ()), strict=False))
            return {"image/png": self.path.read_bytes()}, {"image/png": size}
        if ending == ".html":
            page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
            frame = f'<iframe srcdoc="{page}" style="width: 100%; height: 640px; border: 0"></iframe>'
            return {"text/html": frame, "text/plain": repr(self)}
        return {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Picture '{self.path}'>"
