"""`Input` and the layer behind it, where functional graphs begin."""

from __future__ import annotations

from typing import Any

from lamina import dtypes
from lamina.engine import watching
from lamina.engine.abstract import Shape, Spec
from lamina.engine.layer import Layer
from lamina.engine.symbolic import Node, SymbolicTensor
from lamina.errors import ArgumentError
from lamina.registry import LAYERS


@LAYERS.register()
class InputLayer(Layer):
    """Where a graph begins; `Input` makes one and gives its tensor.

    Args:
        shape: the sizes of one sample, `None` for those that may vary.
        batch_size: the size of the batch, when it is fixed.
        dtype: of the data; by default `config.floatx()`.
        batch_shape: the whole shape in place of `shape` and `batch_size`.
        name: by default `input_layer`, numbered.

    Raises:
        ArgumentError: neither or both of `shape` and `batch_shape` are given, or a size is no size.

    Example:
        >>> InputLayer(shape=(28, 28, 1)).output.shape
        (None, 28, 28, 1)
    """

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        batch_shape: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if (shape is None) == (batch_shape is None):
            raise ArgumentError(
                "Input takes shape or batch_shape, one of the two.",
                expected="shape=(28, 28, 1) or batch_shape=(None, 28, 28, 1)",
                received=f"shape={shape!r}, batch_shape={batch_shape!r}",
                fix="Input(shape=(28, 28, 1))",
            )
        self.__dict__["batch_shape"] = (batch_size, *_sizes(shape)) if batch_shape is None else _sizes(batch_shape)
        self.__dict__["input_dtype"] = dtypes.standardize_dtype(dtype)
        self.mark_built()
        Node(self, (), {}, Spec(self.batch_shape, dtypes.torch_dtype(self.input_dtype)))

    def call(self, inputs: Any) -> Any:
        """Its input."""
        return inputs

    @property
    def dtype(self) -> str:
        """The dtype of the data."""
        return self.input_dtype

    def get_config(self) -> dict[str, Any]:
        """The batch shape, dtype and name."""
        return {"batch_shape": self.batch_shape, "dtype": self.input_dtype, "name": self.name}


def _sizes(shape: Any) -> Shape:
    """`shape` as a tuple of sizes."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(size is not None and (not hasattr(size, "__index__") or size < 0) for size in sizes):
        raise ArgumentError(
            "This is no shape.",
            expected="a tuple of whole numbers, None for sizes that may vary",
            received=repr(shape),
            fix="Input(shape=(28, 28, 1)); the batch axis is left out",
        )
    return tuple(None if size is None else int(size) for size in sizes)


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    batch_shape: Any = None,
    name: str | None = None,
) -> SymbolicTensor:
    """A symbolic tensor from which a functional model starts.

    Args:
        shape: the sizes of one sample, `None` for those that may vary; `()` for a number a sample.
        batch_size: the size of the batch, when it is fixed.
        dtype: of the data; by default `config.floatx()`.
        batch_shape: the whole shape in place of `shape` and `batch_size`.
        name: the input's name, by which a dict of data can address it.

    Returns:
        A `SymbolicTensor` of shape `(batch_size, *shape)`.

    Raises:
        ArgumentError: neither or both of `shape` and `batch_shape` are given, or a size is no size.

    Example:
        >>> Input(shape=(None, 3)).shape
        (None, None, 3)
    """
    watching.start()
    return InputLayer(shape, batch_size, dtype, batch_shape, name).output
