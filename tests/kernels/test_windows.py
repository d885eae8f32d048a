"""Window arithmetic against windows counted one by one."""

from __future__ import annotations

import itertools

import pytest

from lamina.kernels.windows import extent, same_padding, transposed_crops, transposed_size, window_count

GRID = [
    (size, window, stride, dilation)
    for size, window, stride, dilation in itertools.product(range(1, 14), range(1, 6), range(1, 5), range(1, 4))
]


def counted(size: int, window: int, stride: int, dilation: int) -> int:
    """The number of starts from which every member of the window lies on the axis."""
    members = [i * dilation for i in range(window)]
    return sum(all(start + m < size for m in members) for start in range(0, size, stride))


def test_the_extent_is_the_distance_from_first_to_last_member_and_one():
    assert [extent(1, 4), extent(3, 1), extent(3, 4)] == [1, 3, 9]


def test_the_number_of_valid_windows_is_what_counting_gives():
    for size, window, stride, dilation in GRID:
        found = max(0, window_count(size, window, stride, "valid", dilation))
        assert found == counted(size, window, stride, dilation), (size, window, stride, dilation)


@pytest.mark.parametrize("padding", ["same", "causal"])
def test_padding_to_the_same_size_gives_one_window_for_each_stride_begun(padding: str):
    for size, window, stride, dilation in GRID:
        assert window_count(size, window, stride, padding, dilation) == len(range(0, size, stride))


def test_same_padding_is_the_least_that_lets_all_windows_fit_and_the_odd_one_goes_after():
    for size, window, stride, dilation in GRID:
        before, after = same_padding(size, window, stride, dilation)
        wanted = len(range(0, size, stride))
        assert counted(before + size + after, window, stride, dilation) == wanted
        if before + after:
            assert counted(before + size + after - 1, window, stride, dilation) < wanted
        assert after - before in (0, 1)


def test_a_transposed_convolution_with_same_padding_undoes_the_sizes_and_crops_of_the_plain_one():
    for size, window, stride, dilation in GRID:
        large = size * stride
        assert transposed_size(size, window, stride, "same", None, dilation) == large
        before, after = same_padding(large, window, stride, dilation)
        cropped = transposed_crops(window, stride, "same", None, dilation)
        assert (max(0, cropped[0]), max(0, cropped[1])) == (before, after)


def test_a_valid_transposed_convolution_keeps_every_position_that_a_window_touches():
    for size, window, stride, dilation in GRID:
        reach = extent(window, dilation)
        assert transposed_size(size, window, stride, "valid", None, dilation) == (size - 1) * stride + max(
            reach, stride
        )
        assert transposed_size(size, window, stride, "valid", 2, dilation) == (size - 1) * stride + reach + 2


def test_output_padding_with_same_is_counted_from_the_parity_of_the_window():
    for size, window, stride, dilation in GRID:
        expected = (size - 1) * stride + extent(window, dilation) % 2 + 1
        assert transposed_size(size, window, stride, "same", 1, dilation) == expected
