"""Cross-entropy of class numbers and counted matches in lamina's own kernel, against torch in double precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.engine.masking import set_mask
from lamina.kernels import classification as kernels
from lamina.kernels import native
from lamina.kernels.classification import cross_entropy, matches, suits
from lamina.losses import SparseCategoricalCrossentropy
from lamina.metrics import SparseCategoricalAccuracy

pytestmark = pytest.mark.usefixtures("classification")

ROWS = (1, 2, 33, 5000)
CLASSES = (1, 2, 10, 16, 17, 1000)
SIZES = [(rows, classes) for rows in ROWS for classes in CLASSES if rows * classes <= 100_000] + [(200, 1000)]


def batch(rows: int, classes: int) -> tuple[Tensor, Tensor]:
    """Scores that want a gradient, and labels."""
    return (torch.randn(rows, classes) * 3).requires_grad_(), torch.randint(0, classes, (rows,))


def expect_equal(scores: Tensor, labels: Tensor, **tolerance: float) -> None:
    """The loss and its gradient are those of torch in double precision."""
    found, wanted = cross_entropy(scores, labels), F.cross_entropy(scores.double(), labels)
    assert found.dtype is torch.float32 and found.shape == ()
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)
    (of_found,), (of_wanted,) = (torch.autograd.grad(y * 3.0, scores) for y in (found, wanted))
    assert of_found.shape == scores.shape and of_found.dtype is torch.float32
    # Measured by what a row's softmax sums up to.
    room = tolerance or {"rtol": 2e-5, "atol": 1e-6 * 3.0 / len(labels)}
    torch.testing.assert_close(of_found.double(), of_wanted.double(), **room)


@pytest.mark.parametrize("rows, classes", SIZES)
def test_the_loss_and_its_gradient_are_those_of_torch(rows, classes, threads):
    expect_equal(*batch(rows, classes))


@pytest.mark.parametrize("rows, classes", SIZES)
def test_matches_are_those_of_torchs_argmax(rows, classes, threads):
    scores, labels = batch(rows, classes)
    found = matches(scores.detach(), labels)
    assert found.dtype is torch.float64 and found.shape == (1,)
    assert found.item() == (scores.argmax(1) == labels).sum().item()
    assert matches(scores.detach(), scores.argmax(1)).item() == rows


@pytest.mark.parametrize("turn", [lambda t: t.t(), lambda t: torch.stack([t, t + 9.0], -1)[..., 0].t()])
def test_scores_and_labels_may_have_any_layout_in_memory(turn):
    scores, labels = turn(torch.randn(17, 33)), torch.randint(0, 17, (66,))[::2]
    assert not scores.is_contiguous() and not labels.is_contiguous()
    expect_equal(scores.detach().requires_grad_(), labels)
    assert matches(scores, labels).item() == (scores.argmax(1) == labels).sum().item()
    flat = torch.randn(33, 1).expand(33, 17)
    expect_equal(flat.detach().requires_grad_(), labels)
    assert matches(flat, labels).item() == (labels == 0).sum().item()


@pytest.mark.parametrize("size", [1.0, 30.0, 1e2, 1e4])
def test_scores_that_lie_far_apart_overflow_nothing(size, threads):
    scores, labels = batch(33, 17)
    expect_equal((scores.detach() * size).requires_grad_(), labels, rtol=2e-3, atol=1e-6)
    two = torch.tensor([[size, -size], [-size, size], [size, size]]).requires_grad_()
    expect_equal(two, torch.tensor([0, 0, 1]))


@pytest.mark.parametrize("center", [100.0, 1e4, -1e4])
def test_a_number_added_to_all_scores_of_a_row_changes_no_gradient(center):
    """Beyond what rounding the scores does."""
    scores, labels = batch(33, 17)
    expect_equal((scores.detach() + center).requires_grad_(), labels)


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("place", [0, 5, 16])
def test_infinite_scores_and_nan_give_the_loss_of_torch(value, place):
    scores, labels = torch.randn(33, 17), torch.full((33,), 3)
    scores[4, place] = value
    found, wanted = cross_entropy(scores, labels), F.cross_entropy(scores, labels)
    torch.testing.assert_close(found, wanted, equal_nan=True)
    scores[4, 3] = value
    found, wanted = cross_entropy(scores, labels), F.cross_entropy(scores, labels)
    torch.testing.assert_close(found, wanted, equal_nan=True)


def test_a_class_that_is_ruled_out_gets_no_gradient():
    scores, labels = torch.randn(33, 17), torch.full((33,), 3)
    scores[:, 5] = -torch.inf
    scores.requires_grad_()
    (found,) = torch.autograd.grad(cross_entropy(scores, labels), scores)
    (wanted,) = torch.autograd.grad(F.cross_entropy(scores, labels), scores)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["nan", "inf"])
def test_a_row_that_is_spoilt_spoils_the_gradient_of_no_other(name):
    scores, labels = torch.randn(33, 17), torch.randint(0, 17, (33,))
    scores[4, 7] = float(name)
    scores.requires_grad_()
    (found,) = torch.autograd.grad(cross_entropy(scores, labels), scores)
    (wanted,) = torch.autograd.grad(F.cross_entropy(scores, labels), scores)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("wrong", [-1, -100, 10, 2**40, -(2**63)])
@pytest.mark.parametrize("place", [0, 32])
def test_a_label_that_is_no_class_is_an_index_error(wrong, place, threads):
    scores, labels = batch(33, 10)
    labels[place] = wrong
    with pytest.raises(IndexError, match="a label is no class"):
        cross_entropy(scores, labels)
    labels[place] = 9
    expect_equal(scores, labels)


def test_a_label_that_is_no_class_matches_nothing():
    scores = torch.eye(3)
    assert matches(scores, torch.tensor([-1, 3, 2**40])).item() == 0.0
    assert matches(scores, torch.tensor([-1, 1, 2])).item() == 2.0


@pytest.mark.parametrize("classes", [2, 10, 17, 40])
def test_of_equal_scores_the_first_counts_and_a_nan_is_the_largest_as_in_torch(classes):
    scores = torch.randint(0, 3, (500, classes)).float()
    spoilt = scores.masked_fill(torch.rand(500, classes) < 0.1, torch.nan)
    infinite = scores.masked_fill(scores == 2.0, torch.inf).masked_fill(scores == 0.0, -torch.inf)
    for given in (scores, spoilt, infinite, torch.full((500, classes), -torch.inf), torch.zeros(500, classes)):
        best = given.argmax(1)
        assert matches(given, best).item() == 500
        labels = torch.randint(0, classes, (500,))
        assert matches(given, labels).item() == (best == labels).sum().item()


def test_a_penalty_on_the_gradient_has_the_gradient_of_torch():
    scores, labels = batch(33, 17)

    def penalty(y: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(y, scores, create_graph=True)
        assert slope.requires_grad
        (found,) = torch.autograd.grad((slope * 33.0).square().sum(), scores)
        return found

    found, wanted = penalty(cross_entropy(scores, labels)), penalty(F.cross_entropy(scores.double(), labels))
    assert wanted.abs().max() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_without_gradients_the_value_is_the_same():
    scores, labels = batch(33, 17)
    wanted = cross_entropy(scores, labels)
    with torch.no_grad():
        found = cross_entropy(scores, labels)
    assert torch.equal(found, wanted) and wanted.requires_grad and not found.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_do_not_depend_on_the_default_dtype(dtype):
    scores, labels = batch(33, 17)
    torch.set_default_dtype(dtype)
    try:
        (found,) = torch.autograd.grad(cross_entropy(scores, labels), scores)
        count = matches(scores.detach(), labels)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, torch.autograd.grad(F.cross_entropy(scores, labels), scores)[0])
    assert count.dtype is torch.float64


class TestSuits:
    scores, labels = torch.zeros(33, 17), torch.zeros(33, dtype=torch.int64)

    def test_it_takes_one_label_a_row(self):
        assert suits(self.scores, self.labels) and suits(self.scores.t().contiguous().t(), self.labels)

    def test_it_refuses_other_dtypes_and_devices(self):
        assert not suits(self.scores.double(), self.labels) and not suits(self.scores.bfloat16(), self.labels)
        for dtype in (torch.int32, torch.uint8, torch.float32):
            assert not suits(self.scores, self.labels.to(dtype))
        assert not suits(self.scores.to("meta"), self.labels) and not suits(self.scores, self.labels.to("meta"))

    def test_it_refuses_other_ranks_and_sizes_and_empty_batches(self):
        assert not suits(self.scores[None], self.labels) and not suits(self.scores, self.labels[:, None])
        assert not suits(self.scores, self.labels[:32]) and not suits(self.scores[:1], self.labels)
        assert not suits(self.scores[:0], self.labels[:0]) and not suits(self.scores[:, :0], self.labels)

    def test_it_refuses_everything_under_autocast_and_where_kernels_are_switched_off(self):
        with torch.autocast("cpu", torch.bfloat16):
            assert not suits(self.scores, self.labels)
        with native.switched_off():
            assert not suits(self.scores, self.labels)


class Counted:
    """A function that keeps count of its calls."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.function(*arguments)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """How often matches are counted in the kernel."""
    found = Counted(matches)
    monkeypatch.setattr(kernels, "matches", found)
    return found


# Labels, scores, what else the metric is given, and whether matches are counted in the kernel.
UPDATES: dict[str, tuple[tuple[int, ...], tuple[int, ...], torch.dtype, str, bool]] = {
    "one label a row": ((40,), (40, 5), torch.int64, "", True),
    "labels in a column": ((40, 1), (40, 5), torch.int64, "", True),
    "sequences": ((8, 7), (8, 7, 5), torch.int64, "", True),
    "sequences in a column": ((8, 7, 1), (8, 7, 5), torch.int64, "", True),
    "images": ((4, 3, 6), (4, 3, 6, 5), torch.int64, "", True),
    "labels of 32 bits": ((40,), (40, 5), torch.int32, "", False),
    "labels that are floats": ((40,), (40, 5), torch.float32, "", False),
    "weights": ((40,), (40, 5), torch.int64, "weights", False),
    "weights of sequences": ((8, 7), (8, 7, 5), torch.int64, "weights", False),
    "masked sequences": ((8, 7), (8, 7, 5), torch.int64, "mask", False),
    "masked and weighted": ((8, 7), (8, 7, 5), torch.int64, "weights and mask", False),
}


@pytest.mark.parametrize("name", UPDATES)
def test_accuracy_is_the_same_with_the_kernel_and_without(name, counted):
    shape, scores_shape, dtype, extra, takes = UPDATES[name]
    batches = []
    for _ in range(3):
        scores, labels = torch.randint(0, 4, scores_shape).float(), torch.randint(0, 5, shape).to(dtype)
        weights = torch.rand(scores_shape[:-1]) if "weights" in extra else None
        if "mask" in extra:
            set_mask(scores, torch.rand(scores_shape[:-1]) < 0.7)
        batches.append((labels, scores, weights))

    def measured() -> tuple[Tensor, Tensor, Tensor]:
        metric = SparseCategoricalAccuracy()
        for given in batches:
            metric.update_state(*given)
        return metric.result(), metric.total.clone(), metric.count.clone()

    found = measured()
    assert counted.calls == (3 if takes else 0)
    counted.calls = 0
    with native.switched_off():
        wanted = measured()
    assert counted.calls == 0
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    if not extra:
        right = sum((s.argmax(-1).flatten() == y.flatten()).sum().item() for y, s, _ in batches)
        assert found[0].item() == pytest.approx(right / sum(y.numel() for y, _, _ in batches))
        assert 0.0 < found[0].item() < 1.0


def test_batches_of_sequences_weigh_by_their_samples_with_the_kernel_and_without(counted):
    """Steps are averaged first: a batch of longer sequences weighs no more."""
    short, long = torch.eye(5)[:2].expand(4, 2, 5), torch.eye(5)[:4].expand(4, 4, 5)
    right, wrong = torch.tensor([0, 1]).expand(4, 2), torch.tensor([3, 3, 3, 3]).expand(4, 4)
    metric = SparseCategoricalAccuracy()
    metric.update_state(right, short)
    metric.update_state(wrong, long)
    assert counted.calls == 2 and metric.count.item() == 8.0
    assert metric.result().item() == pytest.approx((1.0 + 0.25) / 2)


@pytest.mark.parametrize("label", [torch.tensor(2), torch.tensor([2])])
def test_the_scores_of_one_sample_without_an_axis_for_it_go_torchs_way(label, counted):
    metric = SparseCategoricalAccuracy()
    metric.update_state(label, torch.tensor([0.1, 0.2, 0.7]))
    metric.update_state(label, torch.tensor([0.1, 0.8, 0.1]))
    assert metric.result().item() == 0.5 and counted.calls == 0


def test_a_subclass_that_brings_its_own_function_is_left_alone(counted):
    class Never(SparseCategoricalAccuracy):
        fn = staticmethod(lambda y_true, y_pred: torch.zeros(len(y_true)))

    metric = Never()
    metric.update_state(torch.tensor([0, 1]), torch.eye(2))
    assert metric.result().item() == 0.0 and counted.calls == 0


def test_the_loss_takes_the_kernel_and_is_the_same_without_it():
    scores, labels = batch(33, 17)
    loss = SparseCategoricalCrossentropy(from_logits=True)
    found = loss(labels, scores)
    assert "cross_entropyBackward" in str(found.grad_fn)
    with native.switched_off():
        wanted = loss(labels, scores)
    assert "cross_entropyBackward" not in str(wanted.grad_fn)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(y, scores)[0] for y in (found, wanted)))


@pytest.mark.parametrize("wanted", [True, False])
def test_the_operators_keep_torchs_rules(wanted):
    scores, labels = batch(33, 17)
    scores = scores.detach().requires_grad_(wanted)
    # The gradient is no operator.
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    checks += [] if wanted else ["test_aot_dispatch_dynamic"]
    operation = torch.ops.lamina.cross_entropy.default
    assert set(torch.library.opcheck(operation, (scores, labels), test_utils=checks).values()) == {"SUCCESS"}
    if not wanted:
        operation = torch.ops.lamina.matches.default
        assert set(torch.library.opcheck(operation, (scores, labels), test_utils=checks).values()) == {"SUCCESS"}
