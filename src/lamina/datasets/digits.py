"""Handwritten digits: 1,797 real scans of 8 x 8 pixels in ten classes, read from the package itself."""

from __future__ import annotations

import numpy as np

from lamina.datasets.store import packaged_arrays


def load_data() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The digits, with a fixed 20 % of every class held out.

    The images are those of the test part of "Optical Recognition of Handwritten Digits", each a 32 x 32 scan whose
    pixels were counted in blocks of 4 x 4. `DIGITS.md` beside this file states source, licence and making. Nothing is
    downloaded.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: `x` of uint8, shape `(n, 8, 8, 1)`, values from 0 (paper) to 16 (ink);
        `y` of int64, shape `(n,)`, the digits 0 to 9. There are 1,438 rows for training and 359 held out.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load_data()
        >>> x_train.shape, x_test.shape
        ((1438, 8, 8, 1), (359, 8, 8, 1))
        >>> x_train = x_train / 16.0  # from 0 to 1

    Reference:
        E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
        https://doi.org/10.24432/C50P49
    """
    arrays = packaged_arrays("digits.npz")
    train = arrays["x_train"], arrays["y_train"].astype(np.int64)
    test = arrays["x_test"], arrays["y_test"].astype(np.int64)
    return train, test
