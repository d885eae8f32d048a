"""The loop over steps itself: masks, dropout masks, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from lamina.errors import ShapeError
from lamina.kernels import recurrence


def test_scan_adds_up():
    total, states = recurrence.scan(lambda x, s: (x + s[0], [x + s[0]]), torch.arange(6.0).view(1, 6), [torch.zeros(1)])
    assert total.tolist() == [[0, 1, 3, 6, 10, 15]]
    assert states[0].tolist() == [15]


def test_a_masked_step_keeps_the_state_and_repeats_the_output_zero_at_first():
    mask = torch.tensor([[False, True, False, True]])
    outputs, states = recurrence.scan(
        lambda x, s: (10 * (x + s[0]), [x + s[0]]), torch.tensor([[1.0, 2.0, 4.0, 8.0]]), [torch.tensor([100.0])], mask
    )
    assert outputs.tolist() == [[0, 1020, 1020, 1100]]
    assert states[0].tolist() == [110]


def test_the_last_output_alone_is_that_of_the_sequence():
    mask = torch.tensor([[True, True, False]])
    step, x = (lambda x, s: (x + s[0], [2 * x])), torch.tensor([[1.0, 2.0, 4.0]])
    whole, _ = recurrence.scan(step, x, [torch.zeros(1)], mask)
    last, _ = recurrence.scan(step, x, [torch.zeros(1)], mask, sequences=False)
    assert last.tolist() == whole[:, -1].tolist() == [4]


def test_a_sequence_without_steps_is_refused():
    with pytest.raises(ShapeError, match=r"at least one step[\s\S]*received: shape \(2, 0, 3\)"):
        recurrence.scan(lambda x, s: (x, s), torch.zeros(2, 0, 3), [torch.zeros(2)])


def test_each_gate_can_have_a_dropout_mask_of_its_own():
    x, kernel, bias = torch.randn(2, 3), torch.randn(3, 8), torch.randn(8)
    masks = [torch.randn(2, 3) for _ in range(4)]
    found = recurrence.project(x, kernel, bias, masks)
    wanted = torch.cat([(x * m) @ kernel[:, 2 * i : 2 * i + 2] for i, m in enumerate(masks)], 1) + bias
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(recurrence.project(x, kernel, bias, masks[:1]), (x * masks[0]) @ kernel + bias)
    torch.testing.assert_close(recurrence.project(x, kernel, None), x @ kernel)


def test_dropout_masks_act_on_every_step_alike():
    x, h, kernel, recurrent = torch.randn(2, 4, 3), torch.randn(2, 5), torch.randn(3, 5), torch.randn(5, 5)
    of_input, of_state = torch.randn(2, 3), torch.randn(2, 5)
    found, _ = recurrence.simple_rnn_reference(
        x, h, kernel, recurrent, None, input_masks=[of_input], recurrent_masks=[of_state]
    )
    for step in range(4):
        h = torch.tanh((x[:, step] * of_input) @ kernel + (h * of_state) @ recurrent)
        torch.testing.assert_close(found[:, step], h)


def test_a_gru_without_reset_after_drops_each_gates_state():
    x, h, kernel, recurrent = torch.randn(2, 1, 3), torch.randn(2, 1), torch.randn(3, 3), torch.randn(1, 3)
    masks = [torch.randn(2, 1) for _ in range(3)]
    z = x[:, 0] @ kernel
    update = (z[:, :1] + (h * masks[0]) @ recurrent[:, :1]).sigmoid()
    reset = (z[:, 1:2] + (h * masks[1]) @ recurrent[:, 1:2]).sigmoid()
    candidate = (z[:, 2:] + (reset * h * masks[2]) @ recurrent[:, 2:]).tanh()
    found = recurrence.gru_reference(x, h, kernel, recurrent, None, reset_after=False, recurrent_masks=masks)[1]
    torch.testing.assert_close(found, update * h + (1 - update) * candidate)


def test_a_gru_has_one_bias_or_two():
    assert recurrence.gru_biases(None) == (None, None)
    one = torch.zeros(6)
    assert recurrence.gru_biases(one)[0] is one and recurrence.gru_biases(one)[1] is None
    assert [b.tolist() for b in recurrence.gru_biases(torch.tensor([[1.0], [2.0]])) if b is not None] == [[1], [2]]
