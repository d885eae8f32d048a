from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina import losses
from lamina.errors import ShapeError


def test_two_labels_in_two_steps_have_one_alignment() -> None:
    logits = torch.randn(1, 2, 4)
    logs = torch.log_softmax(logits, dim=-1)
    torch.testing.assert_close(losses.ctc([[1, 3]], logits), -(logs[0, 0, 1] + logs[0, 1, 3]).reshape(1))


def test_zeros_fill_labels_up() -> None:
    logits = torch.randn(1, 3, 4)
    torch.testing.assert_close(losses.ctc([[2, 0, 0]], logits), losses.ctc([[2]], logits))
    paths = np.log(6) - 3 * np.log(4)  # 2 somewhere among blanks, or in a row: 6 of 64 equally likely paths
    np.testing.assert_allclose(losses.ctc([[2]], torch.zeros(1, 3, 4)), [-paths], rtol=1e-5)


def test_other_ranks_are_refused() -> None:
    with pytest.raises(ShapeError, match="ctc takes sequences of labels and of logits"):
        losses.CTC()(torch.ones(3), torch.zeros(3, 5, 4))
