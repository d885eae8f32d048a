from __future__ import annotations

import torch

from lamina.optimizers import clipping


def test_values_are_brought_into_the_interval():
    given = [torch.tensor([-3.0, 0.5, 2.0])]
    assert clipping.clip_by_value(given, 1.0)[0].tolist() == [-1.0, 0.5, 1.0]
    assert given[0].tolist() == [-3.0, 0.5, 2.0]


def test_only_gradients_over_the_bound_are_shortened():
    long, short, zero = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4]), torch.zeros(2)
    clipped = clipping.clip_by_norm([long, short, zero], 1.0)
    torch.testing.assert_close(clipped, [torch.tensor([0.6, 0.8]), short, zero])


def test_the_global_norm_is_that_of_the_concatenation():
    gradients = [torch.randn(3, 4), torch.randn(5)]
    expected = torch.cat([g.flatten() for g in gradients])
    torch.testing.assert_close(clipping.global_norm([gradients], 2), expected.norm())
    torch.testing.assert_close(clipping.global_norm([gradients], float("inf")), expected.abs().max())
    torch.testing.assert_close(clipping.global_norm([[gradients[0]], [gradients[1]]], 2), expected.norm())


def test_global_clipping_is_torchs():
    parameters = [torch.nn.Parameter(torch.zeros(3, 4)), torch.nn.Parameter(torch.zeros(5))]
    for p in parameters:
        p.grad = torch.randn(p.shape)
    clipped = clipping.clip_by_global_norm([[p.grad.clone() for p in parameters]], 0.5)[0]
    torch.nn.utils.clip_grad_norm_(parameters, 0.5)
    torch.testing.assert_close(clipped, [p.grad for p in parameters], rtol=1e-5, atol=1e-6)


def test_gradients_under_the_global_bound_stay_bit_for_bit():
    given = [torch.tensor([0.3, 0.4])]
    assert torch.equal(clipping.clip_by_global_norm([given], 1.0)[0][0], given[0])


def test_an_infinite_gradient_makes_all_of_them_nan():
    clipped = clipping.clip_by_global_norm([[torch.tensor([1.0, float("inf")]), torch.ones(2)]], 1.0)[0]
    assert all(bool(g.isnan().all()) for g in clipped)


def test_gradients_of_two_dtypes_share_one_norm():
    lists = [[torch.tensor([3.0])], [torch.tensor([4.0], dtype=torch.float64)]]
    clipped = clipping.clip_by_global_norm(lists, 1.0)
    assert [g[0].item() for g in clipped] == [torch.tensor(0.6).item(), 0.8]
    assert [g[0].dtype for g in clipped] == [torch.float32, torch.float64]
