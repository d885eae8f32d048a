"""Looking at a model changes nothing, however awkward the model."""

from __future__ import annotations

import pytest
import torch
from museum import MUSEUM, differences, fingerprint
from torch import nn

from lamina.inspection import measure, plot_model
from lamina.inspection.quiet import unchanged


@pytest.mark.parametrize("name", MUSEUM)
def test_measuring_leaves_every_awkward_model_as_it_was(name):
    make, size, _ = MUSEUM[name]
    model = make()
    before = fingerprint(model)
    for style in ("keras", "torch"):
        report = measure(model, size, style=style, expand_nested=True)
        assert report.rows and report.failure is None
    assert differences(before, fingerprint(model)) == []


@pytest.mark.parametrize("name", MUSEUM)
def test_every_awkward_model_has_its_weights_counted_once(name):
    make, size, count = MUSEUM[name]
    model = make()
    report = measure(model, size)
    assert report.total_params == count
    assert all(row.call_shapes for row in report.rows if row.class_name != "own weights" and row.name != "wrong")
    if name != "tied":
        torch_style = measure(make(), size, style="torch")
        assert sum(row.num_params for row in torch_style.rows if model is not None) == torch_style.total_params


@pytest.mark.parametrize("name", MUSEUM)
def test_drawing_leaves_it_too(name, tmp_path):
    make, size, _ = MUSEUM[name]
    model = make()
    before = fingerprint(model)
    plot_model(model, tmp_path / "model.svg", input_size=size, expand_nested=True)
    assert (tmp_path / "model.svg").stat().st_size > 500
    assert differences(before, fingerprint(model)) == []


def test_a_model_that_fails_is_left_as_it_was_too():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.seen = nn.BatchNorm1d(4), []

        def forward(self, x):
            self.seen.append(self.norm(x))
            raise ValueError("no more")

    model = Fails()
    before = fingerprint(model)
    assert measure(model, (4,)).failure is not None
    assert differences(before, fingerprint(model)) == []


def test_what_runs_inside_may_do_anything_but_train():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[0].weight.grad = torch.ones(3, 4)
    model[1].eval()
    before = fingerprint(model)
    with pytest.raises(RuntimeError, match="on purpose"), unchanged(model):
        assert model[0].weight.grad is None
        model.train()
        model(torch.rand(8, 4)).sum().backward()
        model.register_buffer("new", torch.ones(1))
        model[0].bias.requires_grad_(False)
        del model[2]
        torch.rand(3)
        raise RuntimeError("on purpose")
    assert differences(before, fingerprint(model)) == []


def test_the_fingerprint_sees_what_changes():
    changes = {
        "0 mode": lambda m: m[0].eval(),
        "0.weight value": lambda m: m[0].weight.data.add_(1),
        "0.weight gradient": lambda m: setattr(m[0].weight, "grad", torch.ones(3, 4)),
        "random": lambda m: torch.rand(1),
        "1.running_mean value": lambda m: m[1].running_mean.add_(1),
        "0._forward_hooks": lambda m: m[0].register_forward_hook(print),
        "0.weight kept": lambda m: m[0].weight.requires_grad_(False),
    }
    for name, change in changes.items():
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        before = fingerprint(model)
        change(model)
        assert name in differences(before, fingerprint(model))


def test_hooks_are_silent_inside_unless_they_are_wanted():
    model, seen = nn.Linear(2, 2), []
    model.register_forward_hook(lambda *_: seen.append(1))
    with unchanged(model):
        model(torch.ones(1, 2))
    assert seen == []
    with unchanged(model, hooks=True):
        model(torch.ones(1, 2))
    model(torch.ones(1, 2))
    assert seen == [1, 1]
