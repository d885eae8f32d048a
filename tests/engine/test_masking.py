"""Masks ride on the tensors that they describe."""

from __future__ import annotations

import torch

from lamina.engine.masking import any_mask, apart, get_mask, set_mask

MASK = torch.tensor([True, False])


def test_a_mask_is_set_on_a_tensor_and_read_back():
    x = torch.ones(2, 3)
    assert get_mask(x) is None
    assert set_mask(x, MASK) is x and get_mask(x) is MASK
    assert set_mask(x, None) is x and get_mask(x) is MASK  # no mask says nothing


def test_nests_of_masks_go_with_nests_of_tensors():
    x, y = torch.ones(2), torch.ones(2)
    set_mask([x, y], [MASK, None])
    assert get_mask([x, y]) == [MASK, None] or get_mask([x, y])[0] is MASK
    pair = {"a": torch.ones(2), "b": torch.ones(2)}
    set_mask(pair, {"b": MASK})
    assert get_mask(pair)["a"] is None and get_mask(pair)["b"] is MASK
    both = (torch.ones(2), torch.ones(2))
    set_mask(both, MASK)
    assert [mask is MASK for mask in get_mask(both)] == [True, True]


def test_any_mask_looks_into_nests():
    assert any_mask(MASK) and any_mask([None, [MASK]]) and any_mask({"a": None, "b": MASK})
    assert not any_mask(None) and not any_mask([None, {"a": None}]) and not any_mask([])


def test_a_tensor_set_apart_has_the_same_values_and_no_mask():
    x = set_mask(torch.ones(2, requires_grad=True), MASK)
    other = apart(x)
    assert other is not x and torch.equal(other, x) and get_mask(other) is None
    set_mask(other, ~MASK)
    assert get_mask(x) is MASK
    nested = apart({"a": [x], "b": 3})
    assert torch.equal(nested["a"][0], x) and nested["a"][0] is not x and nested["b"] == 3


def test_a_result_of_a_torch_function_has_no_mask():
    assert get_mask(set_mask(torch.ones(2), MASK) + 1) is None
