"""What is found in a file of a model, as plain records."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from lamina.errors import LaminaError


@dataclass(frozen=True)
class Risk:
    """Something in a file that may do harm to whoever loads it elsewhere; lamina's own loaders refuse it.

    Attributes:
        where: the object that it is about: a layer, a member of an archive, an array.
        kind: one word or two: `"bytecode"`, `"foreign code"`, `"link"`, `"size"`, `"path"`, `"damage"`.
        what: one sentence.
        grave: whether loading the file with a careless loader runs code, reads other files, or takes the memory; the
            others are worth a look.
    """

    where: str
    kind: str
    what: str
    grave: bool = True


@dataclass
class LayerRecord:
    """A layer in a file.

    Attributes:
        name: its name.
        class_name: its class.
        level: how many models it lies in, beside the outermost.
        shape: of its input, or of a batch for an input layer, if the file says.
        weights: the names of its weights in the file.
        count: of the numbers in them; `None` where the file does not say which are its own.
        known: whether lamina has a class of that name.
    """

    name: str
    class_name: str
    level: int = 0
    shape: Any = None
    weights: list[str] = field(default_factory=list)
    count: int | None = None
    known: bool = True


@dataclass(frozen=True)
class WeightRecord:
    """An array in a file.

    Attributes:
        name: where it is.
        shape, dtype: what it claims to be.
        bytes: how much memory it would take.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass
class Inspection:
    """What a file holds.

    Attributes:
        path: the file.
        format: what it is, in words.
        bytes: its size.
        facts: versions, dates, and whatever else the file says about itself, by name.
        layers: those of the architecture, in order, if the file has one.
        weights: every array that belongs to a model.
        state: every array that belongs to an optimizer.
        compiled: optimizer, loss and metrics as the file names them, or `None`.
        custom: the classes and functions that are not lamina's, and must be passed to whoever loads the file.
        risks: everything dangerous, the grave ones first.

    Example:
        >>> Inspection("m.keras", "Keras 3 archive", 10).is_harmless
        True
    """

    path: str
    format: str
    bytes: int
    facts: dict[str, Any] = field(default_factory=dict)
    layers: list[LayerRecord] = field(default_factory=list)
    weights: list[WeightRecord] = field(default_factory=list)
    state: list[WeightRecord] = field(default_factory=list)
    compiled: dict[str, Any] | None = None
    custom: list[str] = field(default_factory=list)
    risks: list[Risk] = field(default_factory=list)

    @property
    def is_harmless(self) -> bool:
        """Whether nothing grave was found."""
        return not any(risk.grave for risk in self.risks)

    @property
    def count(self) -> int:
        """How many numbers the weights of the model have."""
        return sum(weight.count for weight in self.weights)

    def add(self, where: str, kind: str, what: str, grave: bool = True) -> None:
        """Note a risk, once.

        Args:
            where, kind, what, grave: as `Risk` has them.
        """
        risk = Risk(shown(where), kind, shown(what, 300), grave)
        if risk not in self.risks:
            self.risks.append(risk)

    def note(self, where: str, error: BaseException) -> None:
        """Note what a reader refused.

        Args:
            where: the object.
            error: why it was refused.
        """
        text = str(error).strip() or type(error).__name__
        kind = "damage"
        if isinstance(error, LaminaError):
            text = error.what + (f" ({error.received})" if error.received else "")
        text = text.replace(self.path, "the file")
        if isinstance(error, LaminaError):
            kind = next((kind for words, kind in _KINDS if any(word in text for word in words)), "damage")
        self.add(where, kind, text.splitlines()[0], grave=kind != "damage")

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON knows it."""
        found = asdict(self)
        found["is_harmless"] = self.is_harmless
        found["totals"] = {
            "layers": len(self.layers),
            "weights": len(self.weights),
            "parameters": self.count,
            "weight_bytes": sum(weight.bytes for weight in self.weights),
            "state_bytes": sum(weight.bytes for weight in self.state),
        }
        return found

    def __repr__(self) -> str:
        grave = sum(risk.grave for risk in self.risks)
        return (
            f"<{self.format}: {len(self.layers)} layers, {len(self.weights)} weights, {self.count:,} parameters, "
            f"{grave} grave risks>"
        )


# The words of a refusal, and the kind of risk that it is about.
_KINDS = (
    (("calls for code", "TorchScript", "bytecode", "makes "), "foreign code"),
    (("link", "other files", "named type"), "link"),
    (
        (
            "claims more",
            "beyond measure",
            "overlap",
            "two members",
            "unfolds to",
            "compressed",
            "two tensors",
            "takes no room",
        ),
        "size",
    ),
    (("whose name", "no file", "leads out"), "path"),
    (("filter",), "foreign code"),
)


def shown(text: Any, length: int = 160) -> str:
    """A text from a file as one that can be printed: in one line, without control characters, and not too long.

    Args:
        text: the text.
        length: how long at most.

    Example:
        >>> shown("a\\x1b[31mred")
        'a\\\\x1b[31mred'
    """
    found = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[: length + 1])
    return found if len(found) <= length else found[: length - 3] + "..."
