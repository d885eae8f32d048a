"""`Rescaling` against Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch

from lamina.layers import Rescaling


@pytest.mark.parametrize("scale, offset", [(1 / 255, 0.0), (2.0, -1.0), ([1.0, 2.0, 3.0], [0.5, 0.0, 1.0])])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_rescaling_is_that_of_keras(scale, offset, kind):
    x = torch.as_tensor(np.random.default_rng(0).integers(0, 255, (2, 4, 3)).astype(kind))
    found, expected = Rescaling(scale, offset)(x), keras.layers.Rescaling(scale, offset)(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
