"""The policies in Keras's words."""

from __future__ import annotations

import pytest

from lamina import dtypes, layers, mixed_precision


@pytest.mark.parametrize("setter", ["set_global_policy", "set_dtype_policy"])
@pytest.mark.parametrize("getter", ["global_policy", "dtype_policy"])
def test_both_spellings_set_and_read_one_policy(setter, getter):
    getattr(mixed_precision, setter)("mixed_bfloat16")
    assert getattr(mixed_precision, getter)().name == dtypes.global_policy().name == "mixed_bfloat16"
    assert layers.Dense(1).dtype_policy == mixed_precision.Policy("mixed_bfloat16")


def test_policy_is_another_name_of_the_class():
    assert mixed_precision.Policy is mixed_precision.DTypePolicy is dtypes.DTypePolicy
