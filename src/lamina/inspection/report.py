"""What a model consists of, as data: a row for each layer, links between rows, totals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from lamina.engine import nest
from lamina.errors import ArgumentError

MEBIBYTE = 2**20
OWN_WEIGHTS = "own weights"
"""What stands for a class in the row of a model's own weights, which no layer holds and no call makes."""


@dataclass(frozen=True)
class Link:
    """One tensor that a row takes, said by the row that makes it.

    Attributes:
        name: that row's name.
        row: its place in `Report.rows`.
        call: which of the calls of its layer made the tensor, from 0.
        tensor: which of the call's results it is, from 0.
    """

    name: str
    row: int
    call: int = 0
    tensor: int = 0


@dataclass
class Row:
    """One layer, or one torch function in a functional graph.

    Attributes:
        name: the layer's name.
        class_name: its class, or the name of the function.
        path: the names of the layers around it and its own, joined by `/`; no two layers share one.
        depth: how many rows it is nested in.
        parent: the place of the row right around it, or `None`.
        call_shapes: for each call the shape of the output, `None` for an unknown size, or a nest of shapes; no
            entry when the layer was not called.
        input_shape: the shape of the first call's first argument, or a nest of shapes; `None` when not called.
        dtype: of the first call's first result, such as `"float32"`.
        num_params: the numbers in its weights, those of layers inside included.
        trainable: whether training changes them.
        links: the tensors that it takes, in order, over all its calls.
        results: the rows inside that make its results, in order, when those rows are listed.
        flops: floating-point operations forward for one sample over all calls, as torch's `FlopCounterMode` counts.
        activation_bytes: the memory of its outputs for one sample, over all calls.
        activation: the name of its activation, or `None`.
        config: its arguments as plain data.
        failed: whether the run of the model ended in an error here.
    """

    name: str
    class_name: str
    path: str = ""
    depth: int = 0
    parent: int | None = None
    call_shapes: list[Any] = field(default_factory=list)
    input_shape: Any = None
    dtype: str | None = None
    num_params: int = 0
    trainable: bool = True
    links: list[Link] = field(default_factory=list)
    results: list[Link] = field(default_factory=list)
    flops: int = 0
    activation_bytes: int = 0
    activation: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    failed: bool = False

    @property
    def output_shape(self) -> Any:
        """The shape of the output; a list with one for each call where they differ, `None` when it was not called."""
        if not self.call_shapes:
            return None
        return self.call_shapes[0] if self.same_shapes else list(self.call_shapes)

    @property
    def same_shapes(self) -> bool:
        """Whether all calls gave one shape."""
        return all(shape == self.call_shapes[0] for shape in self.call_shapes)

    @property
    def inputs(self) -> list[str]:
        """The names of the rows whose outputs it takes."""
        return [link.name for link in self.links]


@dataclass
class Failure:
    """Why a model could not be run to its end.

    Attributes:
        where: the path of the layer that failed.
        what: one sentence on what went wrong.
        expected: what would have been right, or `None`.
        received: what came, or `None`.
        fix: one thing to do, or `None`.
    """

    where: str
    what: str
    expected: str | None = None
    received: str | None = None
    fix: str | None = None


@dataclass
class ReportData:
    """A model's rows and totals. Sizes are for one sample. `Report` adds the forms in which it can be read.

    Attributes:
        name: the model's name.
        class_name: its class.
        rows: a row for each layer.
        total_params: the numbers in all weights, each counted once.
        trainable_params: those that training changes.
        params_bytes: the memory of all weights.
        trainable_bytes: the memory of those that training changes, or `None` if nobody counted.
        input_bytes: the memory of the inputs.
        optimizer_bytes: what the optimizer keeps, 0 for a model without one.
        style: `"keras"`, or `"torch"` for a torch module, whose rows are its calls in the order in which they ended.
        failure: why the run ended early, or `None`.
    """

    name: str
    class_name: str
    rows: list[Row]
    total_params: int
    trainable_params: int
    params_bytes: int
    input_bytes: int = 0
    optimizer_bytes: int = 0
    style: str = "keras"
    failure: Failure | None = None
    trainable_bytes: int | None = None

    @property
    def non_trainable_params(self) -> int:
        """The numbers that training leaves alone."""
        return self.total_params - self.trainable_params

    @property
    def forward_backward_bytes(self) -> int:
        """The memory of all outputs and of as many gradients."""
        return 2 * sum(row.activation_bytes for row in self.outermost())

    @property
    def flops(self) -> int:
        """Floating-point operations of one sample's way forward."""
        return sum(row.flops for row in self.outermost())

    @property
    def total_bytes(self) -> int:
        """The memory of all of it."""
        return self.input_bytes + self.forward_backward_bytes + self.params_bytes + self.optimizer_bytes

    @property
    def input_mb(self) -> float:
        """`input_bytes` in MiB."""
        return self.input_bytes / MEBIBYTE

    @property
    def forward_backward_mb(self) -> float:
        """`forward_backward_bytes` in MiB."""
        return self.forward_backward_bytes / MEBIBYTE

    @property
    def params_mb(self) -> float:
        """`params_bytes` in MiB."""
        return self.params_bytes / MEBIBYTE

    @property
    def optimizer_mb(self) -> float:
        """`optimizer_bytes` in MiB."""
        return self.optimizer_bytes / MEBIBYTE

    @property
    def total_mb(self) -> float:
        """`total_bytes` in MiB."""
        return self.total_bytes / MEBIBYTE

    def outermost(self) -> Iterator[Row]:
        """The rows that add up: in Keras's style those that are in no other, in torch's all, as each has its own."""
        return (row for row in self.rows if self.style == "torch" or row.depth == 0)

    def find(self, cls: Any = None, name: str | None = None, shape: Any = None) -> list[Row]:
        """The rows of a class, name or output shape; with several of these, the rows that fit all.

        Args:
            cls: a class or its name.
            name: a name or path, or a regular expression that fits all of it.
            shape: an output shape; `None` or -1 fits any size.

        Returns:
            The rows in order; each says by `inputs` and `links` which tensors enter it.

        Raises:
            ArgumentError: `name` is no regular expression.

        Example:
            >>> from lamina import layers, inspection, Model
            >>> x = layers.Input((4,), name="x")
            >>> model = Model(x, layers.add([layers.Dense(4, name="a")(x), x]))
            >>> [row.inputs for row in inspection.measure(model).find(cls="Add")]
            [['a', 'x']]
        """
        wanted = getattr(cls, "__name__", cls)
        try:
            pattern = None if name is None else re.compile(name)
        except re.error as error:
            raise ArgumentError(
                "This is no regular expression.",
                received=f"name={name!r}: {error}",
                fix="re.escape(name) fits it alone",
            ) from error
        return [
            row
            for row in self.rows
            if (wanted is None or row.class_name == wanted)
            and (pattern is None or name in (row.name, row.path) or pattern.fullmatch(row.name))
            and (shape is None or any(_fits(shape, call) for call in row.call_shapes))
        ]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, which JSON can carry."""
        rows = [{**asdict(row), "output_shape": row.output_shape, "inputs": row.inputs} for row in self.rows]
        totals = ("forward_backward_bytes", "total_bytes", "non_trainable_params", "flops")
        return {**asdict(self), "rows": rows, **{name: getattr(self, name) for name in totals}}

    def __repr__(self) -> str:
        return f"<Report of {self.class_name} {self.name!r}: {len(self.rows)} rows, {self.total_params:,} parameters>"


def _fits(wanted: Any, shape: Any) -> bool:
    """Whether one of the shapes in a nest is `wanted`."""
    if nest.is_nest(shape) and not nest.is_shape(shape):
        return any(_fits(wanted, member) for member in (shape.values() if isinstance(shape, dict) else shape))
    return (
        shape is not None
        and len(shape) == len(wanted)
        and all(w in (None, -1) or w == size for w, size in zip(wanted, shape, strict=True))
    )
