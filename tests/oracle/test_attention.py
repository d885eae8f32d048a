"""Attention layers and EinsumDense against Keras: outputs, scores, masks, gradients, configs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina import layers
from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
Q, V, K = (RNG.normal(size=(2, n, 6)).astype("float32") for n in (3, 5, 5))
Q_MASK = np.array([[True, True, False], [True, False, True]])
V_MASK = np.array([[True, True, True, False, False], [True, False, True, True, False]])


def pair(name: str, shapes: list[Any], **kwargs: Any) -> tuple[Any, Any]:
    """A layer of lamina and one of Keras with the same weights, built for arguments of these shapes."""
    mine, its = getattr(layers, name)(**kwargs), getattr(keras.layers, name)(**kwargs)
    args = [torch.zeros(shape) if isinstance(shape, tuple) else [torch.zeros(s) for s in shape] for shape in shapes]
    mine(*args), its(*args)
    weights = [RNG.normal(size=w.shape).astype("float32") * 0.5 for w in mine.weights]
    mine.set_weights(weights), its.set_weights(weights)
    return mine, its


def close(found: Any, expected: Any) -> None:
    found, expected = (list(v) if isinstance(v, (list, tuple)) else [v] for v in (found, expected))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


KINDS = [("Attention", {}), ("Attention", {"use_scale": True}), ("Attention", {"score_mode": "concat"})]
KINDS += [("Attention", {"score_mode": "concat", "use_scale": True})]
KINDS += [("AdditiveAttention", {}), ("AdditiveAttention", {"use_scale": False})]


@pytest.mark.parametrize("name, kwargs", KINDS)
@pytest.mark.parametrize("arrays", [[Q, V], [Q, V, K]])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_that_of_keras(name, kwargs, arrays, masked, causal):
    mine, its = pair(name, [[a.shape for a in arrays]], **kwargs)
    tensors = [torch.as_tensor(a) for a in arrays]
    mask = [torch.as_tensor(Q_MASK), torch.as_tensor(V_MASK)] if masked else None
    options = {"mask": mask, "use_causal_mask": causal, "return_attention_scores": True}
    close(mine(tensors, **options), its(tensors, **options))


def test_masks_ride_on_the_inputs_of_attention():
    layer = layers.Attention()
    q, v = set_mask(torch.as_tensor(Q), torch.as_tensor(Q_MASK)), set_mask(torch.as_tensor(V), torch.as_tensor(V_MASK))
    found = layer([q, v])
    torch.testing.assert_close(
        found, layers.Attention()([Q, V], mask=[torch.as_tensor(Q_MASK), torch.as_tensor(V_MASK)])
    )
    assert torch.equal(get_mask(found), torch.as_tensor(Q_MASK))


HEADS = [{}, {"value_dim": 5}, {"output_shape": 7}, {"use_bias": False}, {"dropout": 0.5}]


@pytest.mark.parametrize("kwargs", HEADS)
@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize("hidden", [None, "mask", "causal", "both"])
def test_heads_are_those_of_keras(kwargs, scores, hidden):
    mine, its = pair("MultiHeadAttention", [Q.shape, V.shape], num_heads=2, key_dim=4, **kwargs)
    q, v, k = (torch.as_tensor(a) for a in (Q, V, K))
    options: dict[str, Any] = {"return_attention_scores": scores, "use_causal_mask": hidden in ("causal", "both")}
    if hidden in ("mask", "both"):
        options["attention_mask"] = torch.as_tensor(RNG.random((2, 3, 5)) < 0.6) | torch.eye(3, 5, dtype=torch.bool)
    mine.eval()
    close(mine(q, v, **options), its(q, v, training=False, **options))
    close(mine(q, v, k, **options), its(q, v, k, training=False, **options))


@pytest.mark.parametrize("axes", [None, (2,), (1,), (1, 2)])
def test_heads_attend_along_the_axes_that_are_asked_for(axes):
    shape = (2, 3, 4, 6)
    mine, its = pair("MultiHeadAttention", [shape, shape], num_heads=2, key_dim=4, attention_axes=axes)
    x = torch.as_tensor(RNG.normal(size=shape).astype("float32"))
    close(mine(x, x, return_attention_scores=True), its(x, x, return_attention_scores=True))
    close(mine(x, x), its(x, x))


def test_masks_of_queries_and_values_hide_keys_from_heads():
    mine, its = pair("MultiHeadAttention", [Q.shape, V.shape], num_heads=2, key_dim=4)
    q, v = (torch.as_tensor(a) for a in (Q, V))
    found = mine(set_mask(q.clone(), torch.as_tensor(Q_MASK)), set_mask(v.clone(), torch.as_tensor(V_MASK)))
    allowed = torch.as_tensor(Q_MASK)[:, :, None] & torch.as_tensor(V_MASK)[:, None, :]
    expected = its(q, v, attention_mask=allowed)
    close(found[torch.as_tensor(Q_MASK)], expected[torch.as_tensor(Q_MASK)])
    assert torch.equal(get_mask(found), torch.as_tensor(Q_MASK))


def test_gradients_of_heads_are_those_of_keras():
    mine, its = pair("MultiHeadAttention", [Q.shape, V.shape], num_heads=2, key_dim=4)
    one, two = (torch.as_tensor(Q).clone().requires_grad_() for _ in range(2))
    v = torch.as_tensor(V)
    mine(one, v).square().sum().backward(), its(two, v).square().sum().backward()
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-4)
    for p, w in zip(mine.trainable_weights, its.trainable_weights, strict=True):
        torch.testing.assert_close(p.grad, w.value.grad, rtol=1e-4, atol=1e-4)


EQUATIONS = [
    ("abc,cd->abd", (None, 5), "d", (2, 4, 6)), ("abc,cde->abde", (None, 2, 5), "de", (2, 4, 6)),
    ("abc,cde->abde", (None, 2, 5), "e", (2, 4, 6)), ("abc,bd->acd", (None, 3), None, (2, 4, 6)),
    ("...x,xy->...y", 5, "y", (2, 4, 6)), ("...bc,cd->...bd", (None, 5), "d", (2, 3, 4, 6)),
    ("ab...,bc->ac...", 5, "c", (2, 4, 6)), ("abcd,bde->abce", (3, None, 5), "be", (2, 3, 4, 6)),
]  # fmt: skip


@pytest.mark.parametrize("equation, output_shape, bias_axes, shape", EQUATIONS)
def test_products_by_equation_are_those_of_keras(equation, output_shape, bias_axes, shape):
    config = {"equation": equation, "output_shape": output_shape, "bias_axes": bias_axes, "activation": "tanh"}
    mine, its = pair("EinsumDense", [shape], **config)
    x = torch.as_tensor(RNG.normal(size=shape).astype("float32"))
    close(mine(x), its(x))
    assert mine.compute_output_shape(shape) == tuple(mine(x).shape)


def test_wrong_arguments_are_told():
    with pytest.raises(ArgumentError, match="no equation of an input and a kernel"):
        layers.EinsumDense("abc,cd", 3)
    with pytest.raises(ArgumentError, match="axes that the output does not have"):
        layers.EinsumDense("ab,bc->ac", 3, bias_axes="b")
    with pytest.raises(ShapeError, match="does not have the axes of 'ab,bc->ac'"):
        layers.EinsumDense("ab,bc->ac", 3)(torch.zeros(2, 3, 4))
    with pytest.raises(ShapeError, match="size of 'c' is not known"):
        layers.EinsumDense("ab,bc->ac", (None,))(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="takes a list of queries and values"):
        layers.Attention()(torch.zeros(2, 3, 4))
    with pytest.raises(ArgumentError, match="no such scores"):
        layers.Attention(score_mode="sum")
