"""Names of dtypes and policies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from lamina import config, dtypes, layers
from lamina.dtypes import DTypePolicy, get_policy, standardize_dtype, torch_dtype
from lamina.errors import ArgumentError, DtypeError

NAMES = list(dtypes.TORCH_DTYPES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_and_torchs_dtype_mean_the_same(name):
    kind = getattr(torch, name)
    assert standardize_dtype(name) == standardize_dtype(kind) == name
    assert torch_dtype(name) is torch_dtype(kind) is kind


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (np.float32, "float32"),
        (np.dtype("float64"), "float64"),
        (np.dtype(">i4"), "int32"),
        (np.bool_, "bool"),
        (np.complex64, "complex64"),
        (np.ones(2, "uint8").dtype, "uint8"),
        (bool, "bool"),
        (int, "int64"),
        (complex, "complex64"),
        ("half", "float16"),
        ("double", "float64"),
        ("float", "float32"),
        ("long", "int64"),
        ("bool_", "bool"),
    ],
)
def test_dtypes_of_numpy_and_python_have_names(given, name):
    assert standardize_dtype(given) == name


@pytest.mark.parametrize("given", [None, float])
def test_no_dtype_and_pythons_float_mean_the_default_one(given):
    config.set_floatx("bfloat16")
    assert standardize_dtype(given) == "bfloat16"
    assert torch_dtype(given) is torch.bfloat16


@pytest.mark.parametrize(
    ("given", "guess"),
    [("flaot32", "float32"), ("FLOAT16", "float16"), ("int63", "int64"), (np.dtype("datetime64[s]"), None), (42, None)],
)
def test_an_unknown_dtype_is_answered_with_the_nearest(given, guess):
    with pytest.raises(DtypeError, match="Unknown dtype") as caught:
        standardize_dtype(given)
    assert caught.value.received == repr(given)
    if guess:
        assert caught.value.fix == f"did you mean {guess!r}?"


@pytest.mark.parametrize(
    ("name", "variables", "computations"),
    [
        ("float32", "float32", "float32"),
        ("half", "float16", "float16"),
        ("int32", "int32", "int32"),
        ("mixed_bfloat16", "float32", "bfloat16"),
        ("mixed_float16", "float32", "float16"),
    ],
)
def test_a_policy_says_the_dtypes_of_weights_and_computations(name, variables, computations):
    policy = DTypePolicy(name)
    assert (policy.variable_dtype, policy.compute_dtype) == (variables, computations)
    assert policy.mixed is (variables != computations)


def test_policies_are_equal_by_name():
    assert DTypePolicy("half") == DTypePolicy("float16") != DTypePolicy("float32")
    assert len({DTypePolicy("float32"), DTypePolicy(torch.float32), DTypePolicy("mixed_float16")}) == 2
    assert DTypePolicy("float32") != "float32"
    assert repr(DTypePolicy("mixed_float16")) == "<DTypePolicy 'mixed_float16'>"


@pytest.mark.parametrize("carry", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p)), get_policy])
def test_a_policy_can_be_copied(carry):
    policy = DTypePolicy("mixed_bfloat16")
    assert carry(policy) == policy


def test_a_policy_is_made_again_from_its_config():
    policy = DTypePolicy("mixed_bfloat16")
    assert DTypePolicy.from_config(policy.get_config()) == policy
    as_keras_writes_it = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
    assert get_policy(as_keras_writes_it) == get_policy({"name": "mixed_bfloat16"}) == policy


@pytest.mark.parametrize(
    "config", [{}, {"config": 5}, {"class_name": "DTypePolicy"}, {"config": {"name": "x", "y": 1}}]
)
def test_a_dict_that_describes_no_policy_is_refused(config):
    with pytest.raises(DtypeError, match="This dict does not describe a dtype policy"):
        get_policy(config)


def test_a_mixed_policy_of_another_type_is_refused():
    with pytest.raises(ArgumentError, match="Unknown dtype policy"):
        DTypePolicy("mixed_float8")
    with pytest.raises(DtypeError, match="Unknown dtype"):
        layers.Dense(1, dtype="flaot32")


def test_the_global_policy_is_that_of_layers_made_from_now_on():
    before = layers.Dense(1)
    dtypes.set_global_policy("mixed_bfloat16")
    after = layers.Dense(1)
    assert (before.dtype_policy.name, after.dtype_policy.name) == ("float32", "mixed_bfloat16")
    assert layers.Dense(1, dtype="float64").dtype_policy.name == "float64"
    assert get_policy(None) == DTypePolicy("mixed_bfloat16")
    dtypes.set_global_policy(None)
    assert dtypes.global_policy() == DTypePolicy("float32")


def test_a_policy_that_cannot_be_leaves_the_old_one():
    dtypes.set_global_policy("float64")
    with pytest.raises(DtypeError, match="Unknown dtype"):
        dtypes.set_global_policy("nonsense")
    assert dtypes.global_policy().name == "float64"
