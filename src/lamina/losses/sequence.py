"""Connectionist temporal classification: label sequences without an alignment to the steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.errors import ShapeError
from lamina.losses.alignment import as_float, as_tensor
from lamina.losses.base import FunctionLoss
from lamina.registry import LOSSES


def ctc(y_true: Any, y_pred: Any) -> Tensor:
    """Minus the log-probability of each label sequence, over all its alignments to the steps.

    Class 0 is the blank, and fills the labels up to the longest. torch's kernel reads the lengths on the host:
    on a GPU each call waits for the device, and `torch.compile` breaks its graph here.

    Args:
        y_true: class numbers of shape `(N, labels)`.
        y_pred: logits of shape `(N, steps, classes)`.

    Returns:
        One value a sample.

    Raises:
        ShapeError: either has another number of axes.

    Example:
        >>> ctc([[1, 2]], torch.zeros(1, 3, 3))
        tensor([1.6864])

    Reference:
        Graves et al., 2006, Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with
        Recurrent Neural Networks, https://doi.org/10.1145/1143844.1143891
    """
    y_pred = as_float(y_pred)
    y_true = as_tensor(y_true).to(device=y_pred.device, dtype=torch.int64)
    if y_true.ndim != 2 or y_pred.ndim != 3:
        raise ShapeError(
            "ctc takes sequences of labels and of logits.",
            expected="labels of shape (samples, labels) and logits of shape (samples, steps, classes)",
            received=f"labels of shape {tuple(y_true.shape)}, logits of shape {tuple(y_pred.shape)}",
            fix="fill the labels up with zeros to one length, and give the last layer one unit a class and blank",
        )
    steps = torch.full((y_pred.shape[0],), y_pred.shape[1], dtype=torch.int64, device=y_pred.device)
    lengths = (y_true != 0).sum(dim=-1)
    logs = F.log_softmax(y_pred.transpose(0, 1), dim=-1)
    return F.ctc_loss(logs, y_true, steps, lengths, blank=0, reduction="none")


@LOSSES.register()
class CTC(FunctionLoss):
    """Connectionist temporal classification of label sequences, class 0 being the blank.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> CTC()([[1, 2]], torch.zeros(1, 3, 3))
        tensor(1.6864)

    Reference:
        Graves et al., 2006, Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with
        Recurrent Neural Networks, https://doi.org/10.1145/1143844.1143891
    """

    fn = staticmethod(ctc)
    integer_targets = True
