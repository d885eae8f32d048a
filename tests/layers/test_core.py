"""Dense, Activation, Identity, Lambda and Masking, where Keras has nothing to compare with."""

from __future__ import annotations

import pytest
import torch

from lamina import activations
from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ArgumentError, ShapeError, UnknownNameError
from lamina.layers import Activation, Dense, Identity, Input, Lambda, Masking
from lamina.models import Model, Sequential

MASK = torch.tensor([[True, True, False], [True, False, False]])


# ---------------------------------------------------------------------- Dense
def test_dense_equals_torchs_linear():
    module, layer, x = torch.nn.Linear(4, 3), Dense(3), torch.randn(5, 4)
    layer.build((None, 4))
    layer.set_weights([module.weight.detach().t(), module.bias.detach()])
    torch.testing.assert_close(layer(x), module(x))
    torch.testing.assert_close(layer(x[None]), module(x)[None])


def test_dense_keeps_units_first_in_memory():
    layer = Dense(3)
    layer.build((None, 4))
    assert layer.kernel.shape == (4, 3) and layer.kernel.stride() == (1, 4) and layer.bias.tolist() == [0.0] * 3


def test_dense_without_bias_has_one_weight():
    layer = Dense(3, use_bias=False)
    layer.build((None, 4))
    assert layer.bias is None and layer.count_params() == 12 and list(layer.state_dict()) == ["kernel"]
    assert layer(torch.zeros(1, 4)).tolist() == [[0.0] * 3]


def test_dense_applies_the_activation_last():
    x = torch.randn(5, 4)
    plain, rectified = Dense(3), Dense(3, activation=torch.relu)
    plain(x), rectified(x)
    rectified.set_weights(plain.get_weights())
    assert torch.equal(rectified(x), torch.relu(plain(x)))
    assert Dense(3).activation is activations.linear and Dense(3, "relu").activation is activations.relu


@pytest.mark.parametrize("units", [0, -3, 2.5, "4", None])
def test_dense_refuses_units_that_are_no_number_of_them(units):
    with pytest.raises(ArgumentError, match="Dense needs units above zero") as caught:
        Dense(units)
    assert f"units={units!r}" in str(caught.value)


def test_dense_refuses_an_unknown_activation_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="There is no activation named 'rellu'") as caught:
        Dense(3, "rellu")
    assert "did you mean 'relu'?" in str(caught.value)


def test_dense_refuses_another_number_of_features_and_too_few_axes():
    layer = Dense(3, name="d")
    layer(torch.ones(2, 4))
    with pytest.raises(ShapeError, match="Layer 'd': Dense cannot take this input") as caught:
        layer(torch.ones(2, 5))
    assert "4 on axis -1" in str(caught.value)
    with pytest.raises(ShapeError, match="Dense cannot take this input"):
        Dense(3)(torch.ones(4))


def test_dense_needs_a_known_number_of_features():
    with pytest.raises(ArgumentError, match="The weight 'kernel' cannot be made"):
        Dense(3)(Input((5, None)))


def test_dense_works_on_the_last_axis_whatever_the_others():
    assert Dense(3)(Input((None, None, 4))).shape == (None, None, None, 3)
    assert Dense(3).compute_output_shape((2, None, 4)) == (2, None, 3)


def test_dense_hands_masks_on():
    x = set_mask(torch.ones(2, 3, 4), MASK)
    assert get_mask(Dense(5)(x)) is MASK


# ---------------------------------------------------------------------- Activation and Identity
@pytest.mark.parametrize("given", ["tanh", torch.tanh, activations.tanh, lambda x: x.tanh()])
def test_an_activation_may_be_a_name_or_a_function(given):
    x = torch.randn(2, 3)
    assert torch.equal(Activation(given)(x), torch.tanh(x))


def test_an_activation_and_an_identity_keep_shape_dtype_and_mask():
    x = set_mask(torch.ones(2, 3, 4, dtype=torch.float64), MASK)
    assert get_mask(Activation("relu")(x)) is MASK and Activation("relu")(x).dtype is torch.float64
    assert get_mask(Identity()(x)) is MASK
    assert Activation("relu")(Input((3, None))).shape == (None, 3, None)
    both = Identity()([x, x])
    assert torch.equal(both[0], x) and get_mask(both[1]) is MASK


def test_an_unknown_activation_is_refused():
    with pytest.raises(UnknownNameError, match="There is no activation named 'sofmax'"):
        Activation("sofmax")


# ---------------------------------------------------------------------- Lambda
def test_a_lambda_computes_its_function_on_data_and_in_a_graph():
    layer, x = Lambda(lambda t: t[:, ::2] * 2), Input((5,))
    data = torch.randn(2, 5)
    assert torch.equal(layer(data), data[:, ::2] * 2)
    assert Model(x, Lambda(lambda t: t[:, ::2] * 2)(x)).output_shape == (None, 3)


def test_a_lambda_takes_nests_and_more_arguments():
    layer = Lambda(
        lambda pair, power, shift=0.0: pair[0] ** power + pair[1] + shift, arguments={"power": 2, "shift": 1.0}
    )
    assert layer([torch.full((1,), 3.0), torch.ones(1)]).item() == 11.0


def test_a_lambda_that_asks_for_it_gets_the_mode_and_the_mask():
    seen = {}

    def look(x, mask=None, training=None):
        seen.update(mask=mask, training=training)
        return x * 1.0

    layer, x = Lambda(look), set_mask(torch.ones(2, 3), MASK)
    layer(x)
    assert seen["mask"] is MASK and seen["training"] is False
    layer(x, training=True)
    assert seen["training"] is True
    layer.train()
    layer(x)
    assert seen["training"] is True


def test_a_lambdas_output_shape_may_be_stated():
    x = Input((5,))
    opaque = lambda t: torch.from_numpy(t.detach().numpy()[:, :2])  # noqa: E731
    assert Lambda(opaque, output_shape=(2,))(x).shape == (None, 2)
    assert Lambda(opaque, output_shape=lambda shape: (shape[0], 2))(x).shape == (None, 2)
    assert Model(x, Lambda(opaque, output_shape=(2,))(x))(torch.ones(3, 5)).shape == (3, 2)


def test_a_lambdas_mask_is_stated_computed_or_handed_on():
    x = set_mask(torch.ones(2, 3), MASK)
    assert get_mask(Lambda(lambda t: t + 1)(x)) is MASK
    assert get_mask(Lambda(lambda t: t + 1, mask=~MASK)(x)) is not MASK
    assert torch.equal(get_mask(Lambda(lambda t: t + 1, mask=lambda t, mask: ~mask)(x)), ~MASK)


def test_a_lambda_needs_a_function():
    with pytest.raises(ArgumentError, match="Lambda needs a function") as caught:
        Lambda(3)
    assert "Lambda(lambda x: x * 2)" in str(caught.value)


def test_a_builtin_may_be_a_lambda():
    assert Lambda(abs)(torch.tensor([-1.0])).item() == 1.0
    assert Lambda(torch.nn.functional.relu)(torch.tensor([-1.0])).item() == 0.0


# ---------------------------------------------------------------------- Masking
def test_masking_hides_steps_whose_features_all_have_the_value():
    x = torch.tensor([[[1.0, 2.0], [5.0, 5.0], [5.0, 3.0]]])
    y = Masking(5.0)(x)
    assert get_mask(y).tolist() == [[True, False, True]]
    assert y.tolist() == [[[1.0, 2.0], [0.0, 0.0], [5.0, 3.0]]]
    assert get_mask(x) is None


def test_masking_starts_a_mask_in_a_model():
    model = Sequential([Input((3, 2)), Masking(), Dense(4)])
    x = torch.ones(1, 3, 2)
    x[0, 1] = 0
    assert get_mask(model(x)).tolist() == [[True, False, True]]
