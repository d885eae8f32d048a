from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError, WeightsError
from lamina.optimizers.groups import ParameterSet
from lamina.optimizers.state import State, check_keys


def make(decays: bool = True, named: bool = True) -> tuple[State, list[torch.nn.Parameter]]:
    parameters = [torch.nn.Parameter(torch.randn(2, 3)), torch.nn.Parameter(torch.randn(3))]
    names = {"dense/kernel": parameters[0], "dense/bias": parameters[1]} if named else None
    blocks = [("m", "v"), ("h",)]
    return State(ParameterSet(parameters, names), blocks, lambda name, p: torch.zeros_like(p), decays), parameters


def test_tensors_of_one_block_lie_side_by_side():
    state, _ = make()
    m, v, h = state.slots["m"], state.slots["v"], state.slots["h"]
    expected = [m[0], v[0], m[1], v[1], h[0], h[1]]
    assert [a is b for a, b in zip(state.in_order(), expected, strict=True)] == [True] * 6


def test_excluded_parameters_do_not_decay():
    state, parameters = make()
    assert [group.indices for group in state.groups] == [[0, 1]]
    state.exclude([], ["bias$"])
    assert {group.indices[0]: group.decays for group in state.groups} == {0: True, 1: False}
    state.exclude([parameters[0]], [])
    assert {group.indices[0]: group.decays for group in state.groups} == {0: False, 1: True}


def test_nothing_decays_without_weight_decay():
    assert not make(decays=False)[0].groups[0].decays


def test_exclusion_by_name_needs_names():
    with pytest.raises(ArgumentError, match="their names are not known"):
        make(named=False)[0].exclude([], ["bias"])


def test_state_follows_a_parameter_that_changes_its_layout_and_dtype():
    state, (kernel, _) = make()
    state.slots["m"][0].copy_(torch.arange(6.0).reshape(2, 3))
    kernel.data = kernel.data.double().t().contiguous().t()
    state.meet([torch.ones(2, 3), torch.ones(3)])
    moved = state.slots["m"][0]
    assert moved.stride() == kernel.stride() == (1, 2)
    assert moved.dtype == torch.float64
    assert moved.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_loading_copies_into_the_tensors_kept():
    state, _ = make()
    kept = state.slots["v"][1]
    state.load({name: [t + 7 for t in slot] for name, slot in state.slots.items()}, "adam")
    assert kept.tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "change",
    [
        lambda slots: slots.pop("h"),
        lambda slots: slots["m"].pop(),
        lambda slots: slots["m"].__setitem__(1, torch.zeros(4)),
    ],
)
def test_state_of_another_optimizer_is_refused(change):
    state, _ = make()
    slots = {name: list(slot) for name, slot in state.slots.items()}
    change(slots)
    with pytest.raises(WeightsError, match="not the state of an optimizer like adam"):
        state.load(slots, "adam")


def test_a_dict_that_is_no_state_is_refused():
    with pytest.raises(WeightsError, match=r"a dict without \['b'\]"):
        check_keys({"a": 1}, ("a", "b"), "adam")


def test_no_gradient_at_all_is_refused():
    with pytest.raises(ArgumentError, match="for at least one of 2 parameters"):
        make()[0].meet([None, None])
