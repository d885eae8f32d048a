"""What a load has restored, and what it could not."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class LoadReport:
    """How many parts of a file were restored; a part is a weight, the optimizer's state or the training configuration.

    Attributes:
        restored: how many were.
        total: how many there are in the file.
        skipped: those that were not, each with its reason.

    Example:
        >>> print(LoadReport(restored=3, total=4, skipped=["dense/kernel: shape (4, 3), the model has (4, 2)"]))
        restored 3 of 4, skipped: dense/kernel: shape (4, 3), the model has (4, 2)
    """

    restored: int = 0
    total: int = 0
    skipped: list[str] = field(default_factory=list)

    def took(self, count: int = 1) -> None:
        """Count parts that were restored.

        Args:
            count: how many.
        """
        self.restored += count
        self.total += count

    def passed_over(self, what: str, reason: str, count: int = 1) -> None:
        """Note a part that was not restored.

        Args:
            what: its name.
            reason: why.
            count: for how many parts it stands.
        """
        self.total += count
        self.skipped.append(f"{what}: {reason}")

    def __str__(self) -> str:
        text = f"restored {self.restored} of {self.total}"
        return f"{text}, skipped: {'; '.join(self.skipped)}" if self.skipped else text
