"""Where the windows of a convolution or a pooling lie: how many there are, and how far they reach over the edge."""

from __future__ import annotations


def extent(window: int, dilation: int = 1) -> int:
    """How many positions a window spans whose members lie `dilation` apart.

    Example:
        >>> extent(3), extent(3, dilation=2)
        (3, 5)
    """
    return (window - 1) * dilation + 1


def same_padding(size: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """The padding before and after an axis that lets `ceil(size / stride)` windows fit; an odd one goes after.

    Args:
        size: the length of the axis.
        window: the number of members of a window.
        stride: the step from one window to the next.
        dilation: the step from one member to the next.

    Example:
        >>> same_padding(7, 3, 1), same_padding(8, 3, 2), same_padding(4, 1, 2)
        ((1, 1), (0, 1), (0, 0))
    """
    reach = extent(window, dilation)
    # With a stride of 1 the size does not matter; not asking it keeps a traced size free.
    total = reach - 1 if stride == 1 else max(0, ((size - 1) // stride) * stride + reach - size)
    return total // 2, total - total // 2


def window_count(size: int, window: int, stride: int, padding: str, dilation: int = 1) -> int:
    """The number of windows along an axis; zero or less when not even one fits.

    Args:
        size: the length of the axis.
        window: the number of members of a window.
        stride: the step from one window to the next.
        padding: `"valid"`, `"same"` or `"causal"`.
        dilation: the step from one member to the next.

    Example:
        >>> window_count(8, 3, 2, "valid"), window_count(8, 3, 2, "same"), window_count(2, 3, 1, "valid")
        (3, 4, 0)
    """
    if padding == "valid":
        size -= extent(window, dilation) - 1
    return -(-size // stride)


def transposed_crops(
    window: int, stride: int, padding: str, output_padding: int | None, dilation: int = 1
) -> tuple[int, int]:
    """What a transposed convolution loses before and after its axis, out of all positions that its windows touch.

    The uncropped axis has `(size - 1) * stride + extent(window, dilation)` positions. A crop below zero adds
    positions that no window touches. With `"same"` and no `output_padding` the result has `size * stride`
    positions and is the transpose of the convolution that goes the other way.

    Args:
        window: the number of members of a window.
        stride: the step from one window to the next.
        padding: `"valid"` or `"same"`.
        output_padding: positions added after the shape that `padding` alone would give; `None` for the default.
        dilation: the step from one member to the next.

    Example:
        >>> transposed_crops(3, 2, "same", None), transposed_crops(4, 2, "same", None)
        ((0, 1), (1, 1))
        >>> transposed_crops(2, 3, "valid", None)
        (0, -1)
    """
    reach = extent(window, dilation)
    if padding == "valid":
        return 0, min(0, reach - stride) if output_padding is None else -output_padding
    total = reach - stride if output_padding is None else reach - reach % 2 - output_padding
    before = max(0, total // 2)
    return before, total - before


def transposed_size(
    size: int, window: int, stride: int, padding: str, output_padding: int | None, dilation: int = 1
) -> int:
    """The length of an axis after a transposed convolution.

    Args:
        size: the length of the axis before.
        window: the number of members of a window.
        stride: the step from one window to the next.
        padding: `"valid"` or `"same"`.
        output_padding: positions added after the shape that `padding` alone would give; `None` for the default.
        dilation: the step from one member to the next.

    Example:
        >>> transposed_size(7, 3, 2, "same", None), transposed_size(7, 3, 2, "valid", None)
        (14, 15)
    """
    before, after = transposed_crops(window, stride, padding, output_padding, dilation)
    return (size - 1) * stride + extent(window, dilation) - before - after
