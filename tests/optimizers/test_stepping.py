from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError, NotBuiltError
from lamina.optimizers import SGD
from lamina.optimizers.stepping import Stepping


@pytest.fixture
def weight() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor([1.0, 2.0]))


def test_a_plain_torch_loop_trains(weight):
    optimizer = SGD(0.25)
    optimizer.build([weight])
    for _ in range(2):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert weight.tolist() == [0.25, 0.5]
    assert optimizer.iterations == 2


def test_a_closure_is_run_with_gradients_on(weight):
    optimizer = SGD(0.25)
    optimizer.build([weight])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 5.0
    assert weight.tolist() == [0.5, 1.0]


def test_apply_builds_the_optimizer_at_first(weight):
    optimizer = SGD(0.5)
    assert not optimizer.built
    optimizer.apply([torch.ones(2)], [weight])
    optimizer.apply([torch.ones(2)])
    assert optimizer.built
    assert weight.tolist() == [0.0, 1.0]


def test_pairs_are_applied_and_counted(weight):
    other = torch.nn.Parameter(torch.tensor([5.0]))
    optimizer = SGD(0.5)
    assert optimizer.apply_gradients([(torch.ones(2), weight), (None, other)]) == 1
    assert optimizer.apply_gradients(zip([torch.ones(1), torch.ones(2)], [other, weight], strict=True)) == 2
    assert weight.tolist() == [0.0, 1.0]
    assert other.item() == 4.5


def test_no_gradients_at_all_are_no_step(weight):
    optimizer = SGD()
    optimizer.apply([])
    optimizer.build([weight])
    optimizer.apply([])
    assert optimizer.iterations == 0


def test_a_step_before_build_says_how_to_build():
    for ask in (lambda o: o.step(), lambda o: o.apply([torch.ones(1)]), lambda o: o.zero_grad()):
        with pytest.raises(NotBuiltError, match=r"optimizer.build\(model.parameters\(\)\)"):
            ask(SGD())


def test_gradients_of_none_alone_are_refused(weight):
    optimizer = SGD()
    optimizer.build([weight])
    with pytest.raises(ArgumentError, match="No parameter has a gradient"):
        optimizer.step()
    assert optimizer.iterations == 0


def test_gradients_can_be_dropped_or_zeroed(weight):
    optimizer = SGD()
    optimizer.build([weight])
    weight.grad = torch.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert weight.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert weight.grad is None
    optimizer.zero_grad(set_to_none=False)


def test_an_optimizer_must_say_how_it_advances():
    stepping = Stepping("bare")
    with pytest.raises(NotImplementedError, match="Stepping must define advance"):
        stepping.advance([])
    with pytest.raises(NotImplementedError, match="Stepping must define iterations"):
        _ = stepping.iterations
    assert stepping.scale_loss(torch.tensor(3.0)).item() == 3.0
    stepping.on_epoch_end({"loss": 1.0})
