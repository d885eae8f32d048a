from __future__ import annotations

import pytest
import torch

from lamina.optimizers.averaging import adopt_averages, move_averages
from lamina.optimizers.groups import Group, make_groups


@pytest.fixture
def group() -> Group:
    parameter = torch.nn.Parameter(torch.tensor([4.0]))
    return make_groups([parameter], {"average": [torch.tensor([8.0])]}, [False])[0]


@pytest.mark.parametrize("step", [1, torch.tensor(1.0, dtype=torch.float64)], ids=repr)
@torch.no_grad()
def test_the_first_update_starts_the_average_at_the_parameter(group, step):
    move_averages([group], 0.75, step, None)
    assert group.slots["average"][0].item() == 4.0


@pytest.mark.parametrize("step", [2, torch.tensor(2.0, dtype=torch.float64)], ids=repr)
@torch.no_grad()
def test_later_updates_keep_the_momentum_of_it(group, step):
    move_averages([group], 0.75, step, None)
    assert group.slots["average"][0].item() == 7.0


@pytest.mark.parametrize("step", [torch.tensor(1.0), torch.tensor(2.0)], ids=repr)
@torch.no_grad()
def test_a_skipped_update_leaves_it(group, step):
    move_averages([group], 0.75, step, torch.tensor(1.0))
    assert group.slots["average"][0].item() == 8.0


@torch.no_grad()
def test_parameters_adopt_their_averages(group):
    adopt_averages([group])
    assert group.parameters[0].item() == 8.0


@torch.no_grad()
def test_a_skipped_update_leaves_the_parameters():
    parameter = torch.nn.Parameter(torch.tensor([4.1]))
    group = make_groups([parameter], {"average": [torch.tensor([8.3])]}, [False])[0]
    adopt_averages([group], torch.tensor(1.0))
    assert torch.equal(parameter, torch.tensor([4.1]))
    adopt_averages([group], torch.tensor(0.0))
    assert torch.equal(parameter, torch.tensor([8.3]))
