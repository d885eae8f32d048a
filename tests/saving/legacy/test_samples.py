"""Files that tf_keras 2.21 wrote, and some in the formats before it, load and compute what was recorded beside them."""

from __future__ import annotations

import numpy as np
import pytest
from legacy_samples import NAMES, loaded, numbered, outputs_of, path_of

from lamina.saving.legacy import load_h5

PYTHON = {"lambda_layer": {"double_and_one": lambda x: x * 2 + 1}}
HALF = {"mixed_precision"}  # computed in float16, which TensorFlow and torch round in other places


def expect_recorded(found, name):
    expected = numbered(name, "y")
    assert [f.shape for f in found] == [e.shape for e in expected]
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        tolerance = 1e-3 if name in HALF else 1e-5
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance, err_msg=f"output {place}")


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_loads_and_predicts_what_it_predicted_where_it_was_saved(name):
    model, report = loaded(name, custom_objects=PYTHON.get(name))
    assert not report.skipped and report.restored == report.total
    expect_recorded(outputs_of(model, name), name)


def test_a_load_without_a_report_is_silent_when_all_was_restored(recwarn):
    load_h5(path_of("mlp"))
    assert not [w for w in recwarn if "restored" in str(w.message)]


@pytest.mark.parametrize("name", ["mlp", "shared", "embedding", "lenet", "train_adam", "train_keras22_adam"])
def test_a_compiled_sample_is_compiled_again_unless_nobody_wants_it(name):
    assert loaded(name)[0].compiled
    assert not loaded(name, compile=False)[0].compiled


def test_names_survive():
    model, _ = loaded("mobilenet_block")
    assert [layer.name for layer in model.layers][1:4] == ["Conv1", "block_1_expand", "block_1_expand_BN"]
    assert [layer.name for layer in loaded("model_of_models")[0].layers if hasattr(layer, "fit")] == ["two"]


def test_frozen_layers_stay_frozen():
    model, _ = loaded("frozen")
    base, norm, head, last = model.layers
    assert [layer.trainable for layer in (*base.layers, norm, *head.layers, last)] == [
        False,
        False,
        False,
        False,
        True,
        False,
        True,
        True,
    ]


def test_regularizers_and_constraints_survive():
    first, _, second, third = loaded("mlp")[0].layers
    assert (type(first.kernel_regularizer).__name__, float(first.kernel_regularizer.l2)) == ("L2", pytest.approx(0.01))
    assert float(second.kernel_regularizer.l1) == pytest.approx(0.01)
    assert type(second.bias_constraint).__name__ == "NonNeg"
    assert third.kernel_initializer.mode == "fan_out"


def test_metrics_and_loss_weights_survive():
    model, _ = loaded("shared")
    x, rng = numbered("shared", "x"), np.random.default_rng(0)
    left, right = rng.normal(size=(3, 1)), rng.normal(size=(3, 5))
    found = model.test_on_batch(x, {"main": left, "twin": right}, return_dict=True)
    main, twin = outputs_of(model, "shared")
    assert found["main_loss"] == pytest.approx(((main - left) ** 2).mean(), rel=1e-5)
    assert found["twin_loss"] == pytest.approx(np.abs(twin - right).mean(), rel=1e-5)
    assert found["loss"] == pytest.approx(found["main_loss"] + 0.5 * found["twin_loss"], rel=1e-5)
    assert found["main_mae"] == pytest.approx(np.abs(main - left).mean(), rel=1e-5)


def test_a_layer_of_the_users_comes_before_one_of_the_library():
    from lamina.layers import Dense

    class Mine(Dense):
        pass

    model, _ = loaded("mlp", custom_objects={"Dense": Mine}, compile=False)
    assert [type(layer).__name__ for layer in model.layers] == ["Mine", "Dropout", "Mine", "Mine"]
