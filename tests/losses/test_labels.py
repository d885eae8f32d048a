from __future__ import annotations

import pytest
import torch

from lamina import config
from lamina.errors import TargetError
from lamina.losses.labels import binary_pair, binary_values, class_index_pair, one_hot_pair, probabilities


def test_probabilities_stay_epsilon_away_from_their_ends() -> None:
    config.set_epsilon(0.1)
    assert probabilities(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([0.1, 0.5, 0.9])


def test_binary_values_over_logits_and_probabilities_agree() -> None:
    y_true, logits = torch.tensor([0.0, 1.0, 0.3]), torch.tensor([-2.0, 0.5, 3.0])
    values = binary_values(y_true, logits, from_logits=True)
    torch.testing.assert_close(values, binary_values(y_true, logits.sigmoid(), from_logits=False))
    torch.testing.assert_close(values.mean(), binary_values(y_true, logits, from_logits=True, reduction="mean"))


def test_smoothed_labels_move_towards_equal_shares() -> None:
    assert binary_pair([1.0, 0.0], torch.zeros(2), 0.2, "f")[0].tolist() == pytest.approx([0.9, 0.1])
    smoothed, _ = one_hot_pair([[1.0, 0, 0, 0]], torch.zeros(1, 4), 0.4, -1, "f")
    assert smoothed[0].tolist() == pytest.approx([0.7, 0.1, 0.1, 0.1])


def test_class_numbers_lose_an_axis_of_size_1() -> None:
    labels, _ = class_index_pair(torch.tensor([[2.0], [0.0]]), torch.zeros(2, 3), -1, "f")
    assert labels.tolist() == [2, 0] and labels.dtype == torch.int64
    assert class_index_pair(torch.zeros(2, 1, 5), torch.zeros(2, 3, 5), 1, "f")[0].shape == (2, 5)


def test_each_pair_refuses_labels_of_another_form() -> None:
    with pytest.raises(TargetError, match="f compares each of 3 outputs"):
        binary_pair(torch.zeros(2), torch.zeros(2, 3), 0.0, "f")
    with pytest.raises(TargetError, match="f takes one-hot labels"):
        one_hot_pair(torch.zeros(2), torch.zeros(2, 3), 0.0, -1, "f")
    with pytest.raises(TargetError, match="f takes class numbers"):
        class_index_pair(torch.zeros(2, 3), torch.zeros(2, 3), -1, "f")
