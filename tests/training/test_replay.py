"""The compiled pass, what it changes, and the moment at which an update begins."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lamina
from lamina import layers
from lamina.engine.masking import get_mask
from lamina.training import replay
from lamina.training.replay import Undo, compiled_for_replay, update_noticed


@pytest.fixture
def asked(monkeypatch):
    """How torch.compile is asked, and in place of recorded graphs, passes that write to the same memory each time."""
    asked: dict[str, Any] = {"steps": 0}

    def compile_model(model, **arguments):
        asked.update(arguments)
        memory: list[torch.Tensor] = []

        def run(x):
            y = model(x)
            leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(y) if isinstance(leaf, torch.Tensor)]
            if memory:
                with torch.no_grad():
                    for old, new in zip(memory, leaves, strict=True):
                        old.copy_(new)
            else:
                memory.extend(leaf.detach() for leaf in leaves)
            return y

        asked["memory"] = memory
        return run

    monkeypatch.setattr(torch, "compile", compile_model)
    monkeypatch.setattr(
        torch.compiler, "cudagraph_mark_step_begin", lambda: asked.__setitem__("steps", asked["steps"] + 1)
    )
    return asked


def test_torch_is_asked_for_cuda_graphs_of_fixed_shapes(asked):
    run = compiled_for_replay(torch.nn.Linear(2, 1))
    assert (asked["mode"], asked["dynamic"]) == ("reduce-overhead", False)
    for _ in range(3):
        run(torch.ones(1, 2))
    assert asked["steps"] == 3


def test_outputs_lie_in_memory_of_their_own(asked):
    model = torch.nn.Linear(2, 1)
    run = compiled_for_replay(lambda x: {"y": [model(x)], "n": 3})  # type: ignore[arg-type]
    first = run(torch.ones(1, 2))
    value = first["y"][0].item()
    run(torch.zeros(1, 2))
    assert asked["memory"][0].item() != value == first["y"][0].item()
    assert first["n"] == 3
    first["y"][0].sum().backward()
    assert model.weight.grad is not None


def test_masks_go_along(asked):
    model = lamina.Sequential([layers.Input((3,)), layers.Embedding(5, 2, mask_zero=True), layers.Dense(1)])
    run = compiled_for_replay(model)
    x = torch.tensor([[1, 2, 0]])
    y = run(x)
    assert get_mask(y).tolist() == [[True, True, False]]
    assert get_mask(y) is not get_mask(model(x))
    torch.testing.assert_close(y, model(x))


def test_what_a_pass_changes_is_put_back():
    x = layers.Input((2,))
    y = layers.BatchNormalization()(x)
    model = lamina.Model(x, [layers.Dense(1, name="a")(y), layers.Dense(1, name="b")(y)])
    model.compile("sgd", "mse")
    data = torch.randn(4, 2), [torch.randn(4, 1), torch.randn(4, 1)]
    model.train_on_batch(*data)
    results = lambda: ([b.tolist() for b in model.buffers()], dict(model.get_metrics_result()))  # noqa: E731
    before, undo = results(), Undo(model)
    undo.take()
    model.train()
    model.compute_loss(*data, model(data[0]))
    model._loss_tracker.update_state(torch.tensor(3.0))
    assert results() != before
    undo.back()
    assert results() == before
    weights = sum(p.numel() for p in model.parameters())
    assert sum(copy.numel() for copy in undo._copies) < weights + 10  # buffers and means of losses, no weights


def test_a_step_of_the_optimizers_own_is_put_back_too():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = lamina.optimizers.SGD(0.5)
    optimizer.build([weight])
    own = lambda closure=None: "own"  # noqa: E731
    optimizer.step = own  # type: ignore[method-assign]
    with pytest.raises(KeyError), update_noticed(optimizer) as begun:
        assert begun == [] and optimizer.step() == "own" and begun == [True]
        raise KeyError
    assert vars(optimizer)["step"] is own


def test_the_compiled_pass_is_the_one_that_the_library_uses():
    from lamina.training.acceleration import Chooser

    assert Chooser()._functions[0] is replay.compiled_for_replay
