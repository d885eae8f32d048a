"""What a profile says: a row for each layer, as plain data."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

from lamina.errors import unknown_name
from lamina.inspection.profiling.table import show, text


@dataclass
class ProfileRow:
    """A layer, layers that run as one, or what no layer does, in one step of a batch.

    Attributes:
        name: the layer's path; of layers that run as one, all of their names.
        class_name: its class, or theirs.
        layers: the paths of the layers; none for what is outside of all.
        calls: how often a step calls it.
        forward_ms: the time of the way forward, in milliseconds.
        backward_ms: that of the way back; 0 without training.
        flops: floating-point operations of the step: forward, and in training twice as many again for the way back.
            0 where nobody knows.
        num_params: the numbers in its weights; shared ones are counted in the first row that has them.
        param_bytes: their memory.
        output_bytes: the memory of what it gives for the batch.
        peak: what the device reaches at best, in GFLOP/s.
    """

    name: str
    class_name: str
    layers: tuple[str, ...] = ()
    calls: int = 0
    forward_ms: float = 0.0
    backward_ms: float = 0.0
    flops: float = 0.0
    num_params: int = 0
    param_bytes: int = 0
    output_bytes: int = 0
    peak: float = 0.0

    @property
    def ms(self) -> float:
        """Forward and back, in milliseconds."""
        return self.forward_ms + self.backward_ms

    @property
    def gflops(self) -> float:
        """The speed reached, in GFLOP/s."""
        return self.flops / self.ms / 1e6 if self.ms else 0.0

    @property
    def of_peak(self) -> float:
        """The speed reached as a share of the device's peak; above 1 where a kernel needs fewer operations."""
        return self.gflops / self.peak if self.peak else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        computed = {"ms": self.ms, "gflops": self.gflops, "of_peak": self.of_peak}
        return {**asdict(self), "layers": list(self.layers), **computed}


@dataclass
class Profile:
    """Where the time of a step goes.

    Attributes:
        name: the model's name.
        class_name: its class.
        rows: the slowest first.
        step_ms: the time of the same step with nothing in the model that measures, in milliseconds.
        peak: what the device reaches at best in a product of matrices, in GFLOP/s.
        train: whether the step is one of training.
        batch_size: how many samples it takes.
        steps: how many were measured; the times are those of the third in the middle, from the fastest to the slowest.
        device: where.
        dtype: in which the products are computed.
        input_shapes: the shapes of the batch's tensors.
    """

    name: str
    class_name: str
    rows: list[ProfileRow]
    step_ms: float
    peak: float
    train: bool
    batch_size: int
    steps: int
    device: str
    dtype: str
    input_shapes: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def total_ms(self) -> float:
        """The sum of all rows, in milliseconds."""
        return sum(row.ms for row in self.rows)

    @property
    def forward_ms(self) -> float:
        """The sum of all ways forward."""
        return sum(row.forward_ms for row in self.rows)

    @property
    def backward_ms(self) -> float:
        """The sum of all ways back."""
        return sum(row.backward_ms for row in self.rows)

    @property
    def difference(self) -> float:
        """By how much the sum of the rows is above the time of the step, as a share of that."""
        return self.total_ms / self.step_ms - 1 if self.step_ms else 0.0

    @property
    def flops(self) -> float:
        """The floating-point operations of all rows."""
        return sum(row.flops for row in self.rows)

    @property
    def num_params(self) -> int:
        """The numbers in all weights."""
        return sum(row.num_params for row in self.rows)

    @property
    def output_bytes(self) -> int:
        """The memory of all outputs."""
        return sum(row.output_bytes for row in self.rows)

    def find(self, layer: str) -> ProfileRow:
        """The row of a layer, also if it runs as one with others.

        Args:
            layer: its path.

        Raises:
            UnknownNameError: no row has a layer of that name.
        """
        for row in self.rows:
            if layer == row.name or layer in row.layers:
                return row
        raise unknown_name("layer", layer, [name for row in self.rows for name in row.layers or (row.name,)])

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, which JSON can carry."""
        computed = ("total_ms", "forward_ms", "backward_ms", "difference", "flops", "num_params", "output_bytes")
        return {
            **asdict(self),
            "input_shapes": [list(shape) for shape in self.input_shapes],
            "rows": [row.to_dict() for row in self.rows],
            **{name: getattr(self, name) for name in computed},
        }

    def show(self, file: TextIO | None = None) -> None:
        """Write the table: in colour to a terminal, as plain text to a file.

        Args:
            file: where to; by default standard output.
        """
        show(self, file)

    def __str__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(text(self))}</pre>"  # what a notebook asks for

    def __repr__(self) -> str:
        way = "training" if self.train else "inference"
        what = f"{self.class_name} {self.name!r}, {way}"
        return f"<Profile of {what}: {len(self.rows)} rows, {self.step_ms:.3g} ms a step>"
