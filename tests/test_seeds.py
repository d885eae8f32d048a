"""One seed for everything, and generators with seeds of their own."""

from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError
from lamina.seeds import SeedGenerator, set_random_seed


def draw():
    return random.random(), np.random.rand(), float(torch.rand(()))


def test_one_seed_repeats_python_numpy_and_torch():
    set_random_seed(7)
    first = draw()
    assert draw() != first
    set_random_seed(np.int64(7))
    assert draw() == first
    set_random_seed(8)
    assert all(one != other for one, other in zip(draw(), first, strict=True))


def test_the_numbers_are_those_of_each_librarys_own_seed():
    set_random_seed(123)
    found = draw()
    random.seed(123), np.random.seed(123), torch.manual_seed(123)
    assert found == draw()


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_first_and_the_last_seed_are_taken(seed):
    set_random_seed(seed)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "7", None, True, np.float32(3)])
def test_what_is_no_seed_is_refused_before_anything_is_seeded(seed):
    set_random_seed(1)
    expected = draw()
    set_random_seed(1)
    with pytest.raises(ArgumentError, match="This cannot be a seed") as caught:
        set_random_seed(seed)
    assert caught.value.received == repr(seed)
    assert draw() == expected


def numbers(generator, count=3):
    return torch.rand(count, generator=generator.on("cpu")).tolist()


def test_a_generator_repeats_itself_from_its_seed_and_goes_on():
    a, b = SeedGenerator(3), SeedGenerator(np.int32(3))
    first = numbers(a)
    assert first == numbers(b)
    assert numbers(a) == numbers(b) != first
    assert numbers(SeedGenerator(4)) != first


def test_a_generator_neither_reads_nor_moves_the_global_one():
    torch.manual_seed(5)
    expected = torch.rand(2).tolist()
    torch.manual_seed(5)
    numbers(SeedGenerator(3))
    assert torch.rand(2).tolist() == expected


def test_without_a_seed_it_is_drawn_from_the_global_generator_at_first_use():
    generator, other = SeedGenerator(), SeedGenerator()
    torch.manual_seed(5)
    first, second = numbers(generator), numbers(other)
    assert first != second
    again = SeedGenerator()
    torch.manual_seed(5)
    assert numbers(again) == first and again.seed == generator.seed


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**64 - 1])
def test_every_integer_of_64_bits_is_a_seed(seed):
    assert numbers(SeedGenerator(seed)) == numbers(SeedGenerator(seed))


@pytest.mark.parametrize("seed", ["a", 1.5, True, 2**64, -(2**63) - 1, [1]])
def test_a_generator_refuses_what_is_no_seed_when_it_is_made(seed):
    with pytest.raises(ArgumentError, match="This cannot be a seed"):
        SeedGenerator(seed)


@pytest.mark.parametrize("carry", [copy.deepcopy, lambda generator: pickle.loads(pickle.dumps(generator))])
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_goes_on_where_the_original_was(carry, used):
    generator = SeedGenerator(9)
    if used:
        numbers(generator, 5)
    twin = carry(generator)
    expected = numbers(generator)
    assert numbers(twin) == expected
    numbers(generator)
    assert numbers(twin) != expected
