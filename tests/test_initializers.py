"""Initializers: seeds, shapes, dtypes and devices, and the ways to name them."""

from __future__ import annotations

import functools
import inspect
import json
import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lamina import config, initializers
from lamina.errors import ArgumentError, DtypeError, LaminaError, ShapeError, UnknownNameError
from lamina.initializers import Initializer, compute_fans
from lamina.registry import INITIALIZERS
from lamina.seeds import SeedGenerator

RANDOM = [name for name in INITIALIZERS if "seed" in inspect.signature(INITIALIZERS[name]).parameters]


def make(name: str, **kwargs: Any) -> Initializer:
    """The initializer `name`, with a value where it needs one for a 4 by 6 weight."""
    return INITIALIZERS[name](**({"value": torch.arange(24.0).view(4, 6)} if name == "FromTensor" else {}), **kwargs)


def draw(initializer: Any, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    return initializer(shape, dtype=dtype, device="cpu")


# Every initializer


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_an_initializer_gives_a_new_tensor_of_the_shape_and_dtype_asked_for(name: str):
    for dtype in ("float32", torch.float64, "bfloat16", torch.float16):
        got = draw(make(name), (4, 6), dtype)
        assert got.shape == (4, 6)
        assert str(dtype) in str(got.dtype)
        assert got.device == torch.device("cpu")
        assert got.is_contiguous()
        assert not got.requires_grad
        assert got.isfinite().all()


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_an_initializer_goes_to_its_config_and_back_through_json(name: str):
    made = make(name)
    written = json.loads(json.dumps(initializers.serialize(made)))
    again = initializers.deserialize(written)
    assert type(again) is type(made)
    assert again.get_config() == made.get_config()
    assert made.clone().get_config() == made.get_config()


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_on_the_meta_device_an_initializer_computes_nothing(name: str):
    random_state = torch.get_rng_state()
    initializer = make(name)
    for dtype in (torch.float32, torch.bfloat16):
        got = initializer((4, 6), dtype=dtype, device="meta")
        assert (got.device.type, got.shape, got.dtype) == ("meta", (4, 6), dtype)
    assert torch.equal(torch.get_rng_state(), random_state)
    for seed in (3, SeedGenerator(3)) if name in RANDOM else ():  # torch has no generator of that device
        assert make(name, seed=seed)((4, 6), device="meta").device.type == "meta"


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_an_initializer_documents_its_arguments_and_gives_an_example(name: str):
    doc = inspect.getdoc(INITIALIZERS[name])
    for argument in inspect.signature(INITIALIZERS[name]).parameters:
        assert f"\n    {argument}: " in doc
    assert ">>> " in doc


def test_dtype_and_device_are_by_default_those_of_the_configuration():
    config.set_floatx("float64")
    config.set_device("meta")
    got = initializers.Zeros()((2,))
    assert (got.dtype, got.device.type) == (torch.float64, "meta")


# Seeds


@pytest.mark.parametrize("name", RANDOM)
def test_without_a_seed_the_values_are_those_of_torchs_global_generator(name: str):
    initializer = make(name)
    torch.manual_seed(5)
    first, second = draw(initializer, (4, 6)), draw(initializer, (4, 6))
    torch.manual_seed(5)
    assert torch.equal(draw(make(name), (4, 6)), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", RANDOM)
def test_an_integer_seed_gives_the_same_values_at_every_call_and_leaves_the_global_generator_alone(name: str):
    random_state = torch.get_rng_state()
    initializer = make(name, seed=3)
    first = draw(initializer, (4, 6))
    assert torch.equal(draw(initializer, (4, 6)), first)
    assert torch.equal(draw(make(name, seed=np.int64(3)), (4, 6)), first)
    assert not torch.equal(draw(make(name, seed=4), (4, 6)), first)
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_generator_goes_on_from_call_to_call(name: str):
    initializer = make(name, seed=SeedGenerator(3))
    first, second = draw(initializer, (4, 6)), draw(initializer, (4, 6))
    assert torch.equal(first, draw(make(name, seed=3), (4, 6)))
    assert not torch.equal(first, second)


def test_a_seed_generator_survives_the_config_with_its_seed():
    made = initializers.HeNormal(seed=SeedGenerator(3))
    written = json.loads(json.dumps(made.get_config()))
    again = initializers.HeNormal.from_config(written)
    assert isinstance(again.seed, SeedGenerator)
    assert torch.equal(draw(again, (4, 6)), draw(initializers.HeNormal(seed=3), (4, 6)))


@pytest.mark.parametrize("seed", [1.5, "3", True, 2**64])
def test_what_cannot_be_a_seed_is_refused(seed: Any):
    with pytest.raises(ArgumentError, match="This cannot be a seed"):
        initializers.RandomNormal(seed=seed)


# Distributions


def test_a_truncated_normal_has_no_tails_and_the_moments_of_theory():
    x = draw(initializers.TruncatedNormal(mean=1.0, stddev=0.5, seed=1), (1000, 1000), torch.float64)
    assert x.min() >= 0.0
    assert x.max() <= 2.0
    assert x.mean().item() == pytest.approx(1.0, abs=2e-3)
    assert x.std().item() == pytest.approx(0.5 * 0.87962566103423978, rel=2e-3)
    # The distribution function of the cut normal at a few points.
    for z in (-1.5, -0.5, 0.0, 1.0):
        inside = math.erf(math.sqrt(2.0))
        expected = (math.erf(z / math.sqrt(2.0)) + inside) / (2 * inside)
        assert (x < 1.0 + 0.5 * z).double().mean().item() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_dtypes_get_the_values_of_float32_rounded(dtype: torch.dtype):
    for name in RANDOM:
        wide = draw(make(name, seed=2), (4, 6), torch.float32)
        assert torch.equal(draw(make(name, seed=2), (4, 6), dtype), wide.to(dtype))


def test_variance_scaling_takes_the_fan_of_its_mode():
    for mode, count in (("fan_in", 200), ("fan_out", 50), ("fan_avg", 125)):
        for distribution in ("truncated_normal", "untruncated_normal", "uniform"):
            made = initializers.VarianceScaling(3.0, mode, distribution, seed=1)
            got = draw(made, (200, 50)).var().item()
            assert got == pytest.approx(3.0 / count, rel=0.05)


def test_the_fans_of_a_convolution_count_its_window():
    assert compute_fans((3, 3, 16, 32)) == (144, 288)
    assert compute_fans((5, 4, 6)) == (20, 30)
    assert compute_fans((7, 8)) == (7, 8)
    assert compute_fans((9,)) == (9, 9)
    assert compute_fans(()) == (1, 1)
    assert compute_fans((2, 3, 4), input_axes=[0, 1], output_axes=[-1]) == (6, 4)


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (3, 3, 2, 7), (2, 2, 40)])
def test_orthogonal_weights_are_orthonormal_times_the_gain(shape: tuple[int, ...]):
    matrix = draw(initializers.Orthogonal(gain=2.0), shape, torch.float64).reshape(-1, shape[-1])
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    expected = 4.0 * torch.eye(len(short), dtype=torch.float64)
    torch.testing.assert_close(short @ short.T, expected)


def test_orthogonal_matrices_are_rotations_of_all_directions():
    initializer = initializers.Orthogonal(seed=SeedGenerator(0))
    mean = torch.stack([draw(initializer, (2, 2)) for _ in range(2000)]).mean(0)
    assert mean.abs().max().item() < 0.06


def test_an_orthogonal_matrix_may_be_short_of_precision():
    assert draw(initializers.Orthogonal(), (4, 6), "bfloat16").float().norm().item() == pytest.approx(2.0, rel=1e-2)


def test_twenty_five_million_weights_are_drawn_in_well_under_a_second():
    def seconds() -> float:
        start = time.perf_counter()
        draw(initializers.HeNormal(), (5000, 5000))
        return time.perf_counter() - start

    assert any(seconds() < 0.8 for _ in range(3))  # 0.2 s on an idle core; other work may share it


# Fixed values


def test_a_constant_may_be_an_array_that_is_spread_over_the_weight():
    made = initializers.Constant(np.array([1.0, 2.0]))
    assert draw(made, (3, 2)).tolist() == [[1.0, 2.0]] * 3
    assert made.get_config() == {"value": [1.0, 2.0]}
    assert draw(initializers.Constant(torch.tensor(7)), (2,)).tolist() == [7.0, 7.0]
    assert initializers.Constant(np.float32(0.5)).get_config() == {"value": 0.5}


def test_a_constant_that_does_not_broadcast_to_the_weight_is_refused():
    with pytest.raises(ShapeError, match="The value of this constant does not fit the weight") as caught:
        draw(initializers.Constant([1.0, 2.0, 3.0]), (3, 2))
    assert "an array of shape (3,)" in str(caught.value)
    with pytest.raises(ShapeError, match="does not fit"):
        draw(initializers.Constant([[1.0], [2.0]]), (2,))  # would broadcast to more axes than the weight has


def test_a_constant_must_be_numeric():
    with pytest.raises(DtypeError, match="A constant must be numeric"):
        initializers.Constant("zeros")


def test_integers_can_be_zero_one_constant_and_identity():
    for name, expected in (("zeros", 0), ("ones", 1), ("identity", 1)):
        got = draw(initializers.get(name), (1, 1), torch.int32)
        assert got.dtype == torch.int32
        assert got.item() == expected
    assert draw(initializers.Constant(3), (), torch.int64).item() == 3


def test_a_tensor_stands_for_its_values_and_is_copied():
    for value in (torch.arange(4.0), np.arange(4.0)):
        made = initializers.get(value)
        got = draw(made, (4,), torch.float32)
        got.fill_(9.0)
        assert draw(made, (4,), torch.float32).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_tensor_of_another_shape_than_the_weight_is_refused():
    with pytest.raises(ShapeError, match="does not have the shape of the weight") as caught:
        initializers.get(torch.ones(4))((4, 1), device="cpu")
    assert "expected: shape (4, 1)" in str(caught.value)
    assert "received: shape (4,)" in str(caught.value)


# Functions


def seven(shape: tuple[int, ...]) -> Tensor:
    return torch.full(shape, 7.0)


def seven_of_a_dtype(shape: tuple[int, ...], dtype: Any) -> Tensor:
    assert dtype == torch.float64
    return torch.full(shape, 7.0, dtype=dtype)


def seven_in_numpy(shape: tuple[int, ...], dtype: Any = None, scale: float = 7.0) -> np.ndarray:
    return scale * np.ones(shape)


def seven_of_anything(shape: tuple[int, ...], scale: float = 7.0, **kwargs: Any) -> Tensor:
    assert list(kwargs) == ["dtype"]
    return torch.full(shape, scale, **kwargs)


def seven_on_a_device(shape: tuple[int, ...], dtype: Any = None, *, device: Any = None) -> Tensor:
    assert device is not None
    return torch.full(shape, 7.0, dtype=dtype, device=device)


class Seven:
    def __call__(self, size: tuple[int, ...], kind: Any) -> list[float]:
        assert kind == torch.float64
        return [7.0] * size[0]


@pytest.mark.parametrize(
    "function",
    [
        seven,
        seven_of_a_dtype,
        seven_in_numpy,
        seven_of_anything,
        seven_on_a_device,
        Seven(),
        Seven,
        lambda shape, name=None: torch.full(shape, 7.0),
        functools.partial(torch.nn.init.constant_, val=7.0),
        functools.partial(torch.full, fill_value=7.0),
    ],
)
def test_a_function_may_take_dtype_and_device_or_leave_them(function: Any):
    got = initializers.get(function)((3,), dtype="float64", device="cpu")
    assert got.dtype == torch.float64
    assert got.tolist() == [7.0, 7.0, 7.0]


def test_a_built_in_function_without_a_signature_is_called_with_the_shape():
    assert draw(initializers.get(torch.ones), (2, 3)).sum().item() == 6.0


def test_a_function_is_not_called_for_the_meta_device():
    def never(shape: tuple[int, ...]) -> Tensor:
        raise AssertionError("called")

    assert initializers.get(never)((2,), device="meta").shape == (2,)


def test_a_function_that_gives_another_shape_is_named():
    with pytest.raises(ShapeError, match="The initializer wrong gave a tensor of the wrong shape") as caught:

        def wrong(shape: tuple[int, ...], dtype: Any) -> Tensor:
            return torch.ones(3)

        initializers.get(wrong)((2, 2), device="cpu")
    assert "expected: shape (2, 2)" in str(caught.value)


def test_a_function_that_gives_the_same_tensor_twice_shares_no_memory():
    kept = torch.zeros(2)
    made = initializers.get(lambda shape: kept)
    draw(made, (2,)).fill_(1.0)
    assert kept.tolist() == [0.0, 0.0]


def test_torchs_own_initializers_see_torchs_order_of_axes():
    shape = (3, 3, 16, 400)  # window, inputs, outputs
    got = draw(initializers.get(torch.nn.init.kaiming_uniform_), shape)
    limit = math.sqrt(6.0 / (3 * 3 * 16))
    assert got.shape == shape
    assert got.is_contiguous()
    assert 0.99 * limit < got.max().item() <= limit
    wide = draw(initializers.get(functools.partial(torch.nn.init.kaiming_uniform_, mode="fan_out")), (50, 600))
    assert 0.99 * math.sqrt(6.0 / 600) < wide.max().item() <= math.sqrt(6.0 / 600)
    assert draw(initializers.get(torch.nn.init.ones_), (3,)).tolist() == [1.0, 1.0, 1.0]
    assert draw(initializers.get(torch.nn.init.eye_), (2, 3)).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_a_function_is_written_down_by_its_name():
    assert initializers.serialize(initializers.get(seven)) == "seven"
    assert INITIALIZERS.serialize(initializers.get(torch.nn.init.xavier_uniform_)) == "xavier_uniform_"


def test_an_adapted_function_is_not_adapted_again():
    made = initializers.get(seven)
    assert initializers.get(made) is made
    assert "seven" in repr(made)


class Ramp(Initializer):
    """An initializer as users write one: without `device`."""

    def __init__(self, step: float = 1.0) -> None:
        self.step = step

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        return self.step * torch.arange(math.prod(shape), dtype=dtype).view(shape)


def test_an_initializer_of_ones_own_needs_no_device():
    ramp = Ramp(2.0)
    assert initializers.get(ramp) is ramp
    got = ramp((2, 2), dtype="float64", device="cpu")
    assert got.dtype == torch.float64
    assert got.tolist() == [[0.0, 2.0], [4.0, 6.0]]
    assert ramp((2, 2), device="meta").device.type == "meta"
    assert ramp((2,)).device == config.device()
    assert initializers.serialize(ramp) == {"class_name": "Ramp", "config": {"step": 2.0}}


def test_an_initializer_of_ones_own_may_build_on_one_of_ours():
    class Shifted(initializers.RandomUniform):
        def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
            return 10.0 + super().__call__(shape, dtype)

    got = Shifted(0.0, 1.0)((100,), device="cpu")
    assert 10.0 <= got.min().item() < got.max().item() <= 11.0


def test_an_initializer_that_says_nothing_about_its_values_says_so():
    class Empty(Initializer):
        pass

    with pytest.raises(LaminaError, match="Empty does not say which values it gives"):
        Empty()((2,), device="cpu")


# Names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("glorot_uniform", "GlorotUniform"),
        ("he_normal", "HeNormal"),
        ("lecun_uniform", "LecunUniform"),
        ("normal", "RandomNormal"),
        ("uniform", "RandomUniform"),
        ("zero", "Zeros"),
        ("one", "Ones"),
        ("identity", "Identity"),
        ("IdentityInitializer", "Identity"),
        ("OrthogonalInitializer", "Orthogonal"),
    ],
)
def test_a_name_stands_for_a_new_initializer(name: str, kind: str):
    found = initializers.get(name)
    assert type(found) is getattr(initializers, kind)
    assert initializers.get(name) is not found


def test_none_and_an_initializer_stand_for_themselves_and_a_class_for_an_object():
    zeros = initializers.Zeros()
    assert initializers.get(None) is None
    assert initializers.get(zeros) is zeros
    assert isinstance(initializers.get(initializers.HeUniform), initializers.HeUniform)


# Mistakes


def test_an_unknown_name_brings_the_nearest_one():
    with pytest.raises(UnknownNameError, match="There is no initializer named 'glorot_unifrom'") as caught:
        initializers.get("glorot_unifrom")
    assert "did you mean 'glorot_uniform'?" in str(caught.value)


def test_what_is_no_initializer_is_refused():
    with pytest.raises(DtypeError, match="Cannot make an? initializer of this"):
        initializers.get(0.5)
    with pytest.raises(DtypeError, match="An initializer must be something that can be called with a shape"):
        initializers.get(dict)


@pytest.mark.parametrize("shape", [5, (None, 3), (2, -1), (2.5,), "ab"])
def test_what_is_no_shape_is_refused(shape: Any):
    for initializer in (initializers.Zeros(), initializers.get(seven), Ramp()):
        with pytest.raises(ShapeError, match="A weight cannot have this shape"):
            initializer(shape, device="cpu")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_initializer_refuses_a_shape_that_it_cannot_fill_on_any_device(device: str):
    with pytest.raises(ShapeError, match="Identity can only fill a matrix"):
        initializers.Identity()((2, 2, 2), device=device)
    with pytest.raises(ShapeError, match="Orthogonal can only fill a weight that has rows and columns"):
        initializers.Orthogonal()((2,), device=device)
    with pytest.raises(ShapeError, match="The axes of this initializer are not those of the weight"):
        initializers.GlorotUniform(input_axes=[0], output_axes=[2])((2, 2), device=device)


@pytest.mark.parametrize("name", RANDOM)
def test_real_numbers_do_not_go_into_an_integer_weight(name: str):
    with pytest.raises(DtypeError, match="draws real numbers, which this dtype cannot hold"):
        make(name)((4, 6), dtype="int32", device="cpu")


def test_an_argument_that_makes_no_distribution_is_refused():
    with pytest.raises(ArgumentError, match="A standard deviation is never negative"):
        initializers.RandomNormal(stddev=-1.0)
    with pytest.raises(ArgumentError, match="A standard deviation is never negative"):
        initializers.TruncatedNormal(stddev=float("nan"))
    with pytest.raises(ArgumentError, match="The scale of a variance must be positive"):
        initializers.VarianceScaling(scale=0.0)
    with pytest.raises(ArgumentError, match="VarianceScaling has no such mode"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ArgumentError, match="VarianceScaling has no such distribution"):
        initializers.VarianceScaling(distribution="cauchy")
