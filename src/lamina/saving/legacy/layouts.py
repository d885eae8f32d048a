"""Arrays in the layouts of Keras 1, of Theano and of cuDNN, brought into today's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina.errors import WeightsError

Shape = tuple[int, ...]
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D")
_GATES = {"LSTMCell": 4, "GRUCell": 3}
_KERAS1_GATES = {"LSTMCell": (0, 2, 1, 3), "GRUCell": (0, 1, 2)}  # input, candidate, forget, output; then today's


class Origin(NamedTuple):
    """Which Keras wrote a file, and on which backend."""

    version: str
    backend: str

    @property
    def keras1(self) -> bool:
        """Whether it was Keras 1."""
        return self.version.partition(".")[0] in ("0", "1")


def file_counts(layer: Any, origin: Origin, expanded: bool) -> tuple[int, int]:
    """How many trainable and other arrays a file has for a layer itself.

    Args:
        layer: a layer.
        origin: which Keras wrote it.
        expanded: whether recurrent layers have an array for each gate.
    """
    parameters = sum(1 for _ in layer.named_parameters(recurse=False))
    kept = layer._non_persistent_buffers_set
    others = sum(1 for name, _ in layer.named_buffers(recurse=False) if name not in kept)
    if origin.keras1 and expanded and type(layer).__name__ in _GATES:
        parameters *= _GATES[type(layer).__name__]
    return parameters, others


def converted(layer: Any, arrays: list[np.ndarray], shapes: list[Shape], origin: Origin) -> list[np.ndarray]:
    """The arrays of a layer in today's layout.

    Args:
        layer: a layer without those inside it.
        arrays: its arrays in the file.
        shapes: those of its weights.
        origin: which Keras wrote the file.
    """
    kind = type(layer).__name__
    if kind in _GATES:
        if len(arrays) == 3 * _GATES[kind]:
            arrays = _joined_gates(arrays, _KERAS1_GATES[kind])
        return _from_cudnn(arrays, shapes, _GATES[kind]) if len(arrays) == 3 else arrays
    if kind.startswith("LocallyConnected"):
        return [layer.kernel_from_file(arrays[0]), *arrays[1:]]
    if kind in _CONVOLUTIONS and arrays:
        return [_kernel(layer, arrays[0], shapes[0], origin), *arrays[1:]]
    return arrays


def _joined_gates(arrays: Sequence[np.ndarray], order: Sequence[int]) -> list[np.ndarray]:
    """Kernels, recurrent kernels and biases, with the gates side by side."""
    return [np.concatenate([arrays[3 * gate + part] for gate in order], axis=-1) for part in range(3)]


def _kernel(layer: Any, kernel: np.ndarray, shape: Shape, origin: Origin) -> np.ndarray:
    """The kernel of a convolution."""
    kind, spatial = type(layer).__name__, kernel.ndim - 2
    if origin.keras1:
        if kind == "Conv1D" and kernel.ndim == 4:
            if kernel.shape[1] != 1 or kernel.shape[3] != layer.filters:  # before 1.2
                kernel = kernel.transpose(2, 3, 1, 0)
            kernel, spatial = kernel[:, 0], 1
        elif kind == "Conv2DTranspose":
            last = layer.data_format == "channels_last"
            kernel = kernel.transpose((0, 1, 3, 2) if last else (2, 3, 0, 1))
        elif layer.data_format == "channels_first":
            kernel = kernel.transpose((*range(2, kernel.ndim), 1, 0))
    if origin.backend == "theano":  # which mirrors kernels
        kernel = kernel[(slice(None, None, -1),) * spatial]
    if kernel.shape != shape and kernel.ndim == 4 and kernel.transpose(3, 2, 0, 1).shape == shape:
        kernel = kernel.transpose(3, 2, 0, 1)
    return kernel


def _from_cudnn(arrays: list[np.ndarray], shapes: list[Shape], gates: int) -> list[np.ndarray]:
    """Weights of a CuDNNLSTM or CuDNNGRU, told by their bias; those of other layers as they are."""
    kernel, recurrent, bias = arrays
    units = recurrent.shape[0]
    if bias.shape != (2 * gates * units,):
        if gates == 3 and len(shapes) == 3 and bias.shape != shapes[2]:
            raise WeightsError(
                "The bias of a GRU was saved with another reset_after.",
                expected=f"shape {shapes[2]}",
                received=f"shape {bias.shape}",
                fix="make the layer with reset_after=False for (3 * units,), with True for (2, 3 * units)",
            )
        return arrays
    if kernel.ndim != 2 or recurrent.shape != (units, gates * units) or kernel.shape[1] != gates * units:
        raise WeightsError("The weights of a cuDNN layer do not fit together.", received=f"{kernel.shape}")
    # A gate's kernel is stored as (units, inputs) under the name of (inputs, units).
    parts = [part.reshape(units, -1).T for part in np.split(kernel, gates, axis=1)]
    turned = [part.T for part in np.split(recurrent, gates, axis=1)]
    both = bias.reshape(2, -1)
    return [np.concatenate(parts, 1), np.concatenate(turned, 1), both.sum(0) if gates == 4 else both]
