"""A report that can be read: the data of `report`, and the forms of `printing`."""

from __future__ import annotations

from typing import Any

from lamina.inspection.printing import report_text, to_html, to_markdown
from lamina.inspection.report import ReportData


class Report(ReportData):
    """A model's rows and totals; `str(report)` is the table of `summary`.

    Example:
        >>> from lamina.inspection import measure
        >>> from lamina.layers import Dense, Input
        >>> from lamina.models import Sequential
        >>> report = measure(Sequential([Input((3,)), Dense(2, name="dense")], name="small"))
        >>> print(report.to_markdown().splitlines()[4])
        | dense (Dense) | (None, 2) | 8 |
    """

    def to_markdown(self, **options: Any) -> str:
        """The table in GitHub's Markdown.

        Args:
            **options: `show_trainable`, `layer_range`, `fold`, `show_flops` and `show_memory`, as in `print_report`.
        """
        return to_markdown(self, **options)

    def to_html(self, **options: Any) -> str:
        """The table in HTML, for light and dark pages.

        Args:
            **options: as in `to_markdown`.
        """
        return to_html(self, **options)

    def __str__(self) -> str:
        return report_text(self)
