"""Losses and metrics, matched to the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torchmetrics.regression import MeanAbsoluteError as TorchMeanAbsoluteError

import lamina
from lamina import layers, losses, metrics
from lamina.errors import ArgumentError, DataError, DtypeError, ShapeError, TargetError, UnknownNameError
from lamina.training.plan import Plan

RNG = np.random.RandomState(0)
X = RNG.randn(12, 4).astype("float32")
KIND = np.arange(12) % 3
PLACE = RNG.randn(12, 2).astype("float32")
SPARSE = "sparse_categorical_crossentropy"


def one(name: str = "out", units: int = 3, activation: Any = "softmax") -> Any:
    x = layers.Input((4,))
    return lamina.Model(x, layers.Dense(units, activation=activation, name=name)(x))


def two() -> Any:
    x = layers.Input((4,))
    return lamina.Model(x, [layers.Dense(3, activation="softmax", name="kind")(x), layers.Dense(2, name="place")(x)])


def by_name() -> Any:
    """Outputs in a dict, whose keys differ from the layers' names."""
    x = layers.Input((4,))
    kind, place = layers.Dense(3, activation="softmax", name="a")(x), layers.Dense(2, name="b")(x)
    return lamina.Model(x, {"kind": kind, "place": place})


class Subclassed(lamina.Model):
    def __init__(self) -> None:
        super().__init__()
        self.kind, self.place = layers.Dense(3, activation="softmax"), layers.Dense(2)

    def call(self, x):
        return [self.kind(x), self.place(x)]


def judge(model: Any, y: Any, loss: Any, x: Any = X, sample_weight: Any = None, **arguments: Any) -> dict[str, float]:
    """The results of `evaluate`, all samples in one batch."""
    model.compile("sgd", loss, **arguments)
    return model.evaluate(x, y, sample_weight=sample_weight, batch_size=12, verbose=0, return_dict=True)


def cross_entropy(probabilities: np.ndarray) -> float:
    return float(-np.log(probabilities[np.arange(12), KIND]).mean())


def squares(values: np.ndarray) -> float:
    return float(((values - PLACE) ** 2).mean())


def close(found: dict[str, float], expected: dict[str, float]) -> None:
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------------- one output
@pytest.mark.parametrize(
    "loss",
    [
        SPARSE,
        [SPARSE],
        {"out": SPARSE},
        losses.SparseCategoricalCrossentropy,
        losses.SparseCategoricalCrossentropy(),
        losses.serialize(losses.SparseCategoricalCrossentropy()),
        losses.sparse_categorical_crossentropy,
        "crossentropy",
        ["ce"],
    ],
    ids=lambda given: getattr(given, "__name__", str(given)),
)
@pytest.mark.parametrize("y", [KIND, {"out": KIND}, [KIND]], ids=["array", "dict", "list"])
def test_a_loss_and_targets_in_any_form_mean_one_number(loss, y):
    model = one()
    close(judge(model, y, loss), {"loss": cross_entropy(model.predict(X, verbose=0))})


@pytest.mark.parametrize("weight", [2.5, [2.5], {"out": 2.5}, np.float32(2.5), torch.tensor(2.5)], ids=str)
def test_a_loss_weight_is_a_factor(weight):
    model = one()
    expected = 2.5 * cross_entropy(model.predict(X, verbose=0))
    close(judge(model, KIND, SPARSE, loss_weights=weight), {"loss": expected})


@pytest.mark.parametrize("weight", [None, [None], {}, {"out": None}], ids=str)
def test_a_loss_weight_that_is_not_given_is_one(weight):
    model = one()
    close(judge(model, KIND, SPARSE, loss_weights=weight), {"loss": cross_entropy(model.predict(X, verbose=0))})


@pytest.mark.parametrize(
    "given",
    [
        ["acc"],
        "acc",
        ("acc",),
        {"out": "acc"},
        {"out": ["acc"]},
        [["acc"]],
        [metrics.SparseCategoricalAccuracy("acc")],
    ],
    ids=str,
)
@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
def test_metrics_in_any_form_mean_one_number(given, argument):
    model = one()
    accuracy = float((model.predict(X, verbose=0).argmax(-1) == KIND).mean())
    assert judge(model, KIND, SPARSE, **{argument: given})["acc"] == pytest.approx(accuracy)


@pytest.mark.parametrize("name", ["acc", "accuracy", "ACC", "Accuracy", "ce", "crossentropy", "CrossEntropy"])
def test_names_that_depend_on_the_shapes_are_known_to_compile(name):
    assert list(judge(one(), KIND, SPARSE, metrics=[name])) == ["loss", name]


def test_a_loss_can_be_a_metric():
    model = one(units=2, activation=None)
    found = judge(model, PLACE, "mse", metrics=["huber", losses.LogCosh(), torch.nn.L1Loss()])
    difference = model.predict(X, verbose=0) - PLACE
    assert list(found)[1] == "huber"
    small = np.abs(difference) <= 1
    huber = np.where(small, difference**2 / 2, np.abs(difference) - 0.5).mean()
    assert list(found.values())[1:] == pytest.approx(
        [huber, np.log(np.cosh(difference)).mean(), np.abs(difference).mean()], rel=1e-5
    )


def test_only_weighted_metrics_see_the_weights():
    model, weights = one(), np.arange(12.0)
    right = (model.predict(X, verbose=0).argmax(-1) == KIND).astype(float)
    found = judge(model, KIND, SPARSE, sample_weight=weights, metrics=["acc"], weighted_metrics=["accuracy"])
    assert found["acc"] == pytest.approx(right.mean())
    assert found["accuracy"] == pytest.approx((right * weights).sum() / weights.sum())


def test_a_metric_of_torchmetrics_is_called_by_its_class():
    found = judge(one(units=2, activation=None), PLACE, "mse", metrics=[TorchMeanAbsoluteError(), "mae"])
    assert list(found.values())[1] == pytest.approx(found["mae"], rel=1e-5)


# ---------------------------------------------------------------------- several outputs
LOSSES = {
    "a list": [SPARSE, "mse"],
    "a tuple": (SPARSE, losses.MeanSquaredError()),
    "a dict": {"place": "mse", "kind": SPARSE},
}
TARGETS = {"a list": [KIND, PLACE], "a tuple": (KIND, PLACE), "a dict": {"place": PLACE, "kind": KIND}}


@pytest.mark.parametrize("y", TARGETS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("build", [two, by_name])
def test_losses_and_targets_of_several_outputs_come_as_lists_or_dicts(build, loss, y):
    model = build()
    predicted = model.predict(X, verbose=0)
    kind, place = predicted.values() if isinstance(predicted, dict) else predicted
    found = judge(model, TARGETS[y], LOSSES[loss], loss_weights={"place": 0.5}, metrics={"kind": ["acc"]})
    parts = cross_entropy(kind), squares(place)
    close(
        found,
        {
            "loss": parts[0] + 0.5 * parts[1],
            "kind_loss": parts[0],
            "place_loss": parts[1],
            "kind_acc": float((kind.argmax(-1) == KIND).mean()),
        },
    )


def test_outputs_of_a_subclassed_model_are_numbered():
    model = Subclassed()
    kind, place = model.predict(X, verbose=0)
    found = judge(model, [KIND, PLACE], [SPARSE, "mse"], metrics={"output_2": "mae"})
    close(
        found,
        {
            "loss": cross_entropy(kind) + squares(place),
            "output_1_loss": cross_entropy(kind),
            "output_2_loss": squares(place),
            "output_2_mae": float(np.abs(place - PLACE).mean()),
        },
    )
    again = judge(model, {"output_2": PLACE, "output_1": KIND}, {"output_1": SPARSE, "output_2": "mse"})
    assert again["loss"] == pytest.approx(found["loss"])


def test_outputs_in_a_nest_are_taken_from_left_to_right():
    class Nested(Subclassed):
        def call(self, x):
            kind, place = super().call(x)
            return {"kind": kind, "rest": [place, place]}

    model = Nested()
    kind, (place, _) = model.predict(X, verbose=0).values()
    found = judge(model, [KIND, PLACE, PLACE], [SPARSE, "mse", "mae"])
    assert list(found) == ["loss", "output_1_loss", "output_2_loss", "output_3_loss"]
    assert found["output_2_loss"] == pytest.approx(squares(place), rel=1e-5)


def test_outputs_of_one_name_are_told_apart():
    class Same(Subclassed):
        output_names = ("a", "a", "a_1", "a")

        def call(self, x):
            return [self.place(x)] * 4

    assert list(judge(Same(), [PLACE] * 4, "mse")) == ["loss", "a_loss", "a_2_loss", "a_1_loss", "a_3_loss"]


def test_one_loss_is_used_for_every_output():
    model = two()
    kind, place = model.predict(X, verbose=0)
    found = judge(model, [PLACE[:, :1] + kind * 0, PLACE], "mse")
    expected = ((kind - PLACE[:, :1]) ** 2).mean()
    close(found, {"loss": expected + squares(place), "kind_loss": expected, "place_loss": squares(place)})


@pytest.mark.parametrize("loss", [[SPARSE, None], {"kind": SPARSE}, {"kind": SPARSE, "place": None}], ids=str)
@pytest.mark.parametrize("y", [[KIND, PLACE], [KIND, None], {"kind": KIND}], ids=["both", "none", "missing"])
def test_an_output_without_a_loss_needs_no_target(loss, y):
    model = two()
    expected = cross_entropy(model.predict(X, verbose=0)[0])
    close(judge(model, y, loss), {"loss": expected, "kind_loss": expected})


def test_an_output_without_a_loss_may_have_metrics():
    model = two()
    place = model.predict(X, verbose=0)[1]
    found = judge(model, [KIND, PLACE], [SPARSE, None], metrics=[None, ["mse"]])
    assert list(found) == ["loss", "kind_loss", "place_mse"]
    assert found["place_mse"] == pytest.approx(squares(place), rel=1e-5)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["acc", "mse"], ["kind_acc", "place_mse"]),
        ([["acc", "ce"], ["mse"]], ["kind_acc", "kind_ce", "place_mse"]),
        ([None, "mse"], ["place_mse"]),
        ([["acc"], None], ["kind_acc"]),
        ([[], ["mse", "mae"]], ["place_mse", "place_mae"]),
        ({"place": "mae"}, ["place_mae"]),
        ([], []),
        (None, []),
    ],
    ids=str,
)
def test_metrics_of_several_outputs(given, names):
    found = judge(two(), [KIND, PLACE], [SPARSE, "mse"], metrics=given)
    assert list(found) == ["loss", "kind_loss", "place_loss", *names]


def test_a_list_of_another_length_is_for_every_output():
    model = two()
    found = judge(model, [PLACE[:, :1] + np.zeros((12, 3)), PLACE], "mse", metrics=["mae"])
    assert list(found)[3:] == ["kind_mae", "place_mae"] and found["kind_mae"] != found["place_mae"]


@pytest.mark.parametrize("form", ["one", "list", "dict"])
def test_sample_weights_are_for_all_outputs_or_for_each(form):
    model, ones, weights = two(), np.ones(12), np.arange(12.0)
    kind, place = model.predict(X, verbose=0)
    given: Any = {"one": weights, "list": [weights, ones], "dict": {"place": ones, "kind": weights}}[form]
    found = judge(model, [KIND, PLACE], [SPARSE, "mse"], sample_weight=given)
    assert found["kind_loss"] == pytest.approx(float((-np.log(kind[np.arange(12), KIND]) * weights).mean()), rel=1e-5)
    errors = ((place - PLACE) ** 2).mean(-1)
    assert found["place_loss"] == pytest.approx(float((errors * (weights if form == "one" else ones)).mean()), rel=1e-5)


# ---------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("plain", "weighted", "names"),
    [
        (["acc", "acc"], None, ["acc", "acc_1"]),
        (["acc"], ["acc"], ["acc", "weighted_acc"]),
        (["acc"], ["acc", "acc"], ["acc", "weighted_acc", "weighted_acc_1"]),
        (None, ["acc"], ["acc"]),
        ([metrics.SparseCategoricalAccuracy("loss")], None, ["loss_1"]),
        (["acc", metrics.SparseCategoricalAccuracy("acc_1"), "acc"], None, ["acc", "acc_1", "acc_2"]),
    ],
    ids=str,
)
def test_no_two_results_have_one_name(plain, weighted, names):
    found = judge(one(), KIND, SPARSE, metrics=plain, weighted_metrics=weighted)
    assert list(found) == ["loss", *names]


def test_names_begin_with_the_output_where_there_are_several():
    arguments = {"metrics": [["acc"], ["mae"]], "weighted_metrics": [["acc"], ["mse"]]}
    found = judge(two(), [KIND, PLACE], [SPARSE, "mse"], **arguments)
    names = ["kind_loss", "place_loss", "kind_acc", "kind_weighted_acc", "place_mae", "place_mse"]
    assert list(found) == ["loss", *names]


# ---------------------------------------------------------------------- mistakes that compile finds
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"loss": "mean_square_error"}, UnknownNameError, "There is no loss named 'mean_square_error'"),
        ({"loss": ["mse", "nonsense"]}, UnknownNameError, "There is no loss named 'nonsense'"),
        ({"loss": {"a": {"class_name": "Nonsense"}}}, UnknownNameError, "There is no loss named 'Nonsense'"),
        ({"loss": 3}, DtypeError, "a loss of this"),
        ({"metrics": ["acuracy"]}, UnknownNameError, "There is no metric named 'acuracy'"),
        ({"metrics": {"a": [["nonsense"]]}}, UnknownNameError, "There is no metric named 'nonsense'"),
        ({"weighted_metrics": "nonsense"}, UnknownNameError, "There is no metric named 'nonsense'"),
        ({"metrics": ["MeanIoU"]}, ArgumentError, "MeanIoU cannot be made"),
        ({"loss_weights": "heavy"}, ArgumentError, "A loss weight is not a number"),
        ({"loss_weights": {"a": [1.0, "b"]}}, ArgumentError, "A loss weight is not a number"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_an_error_of_compile(arguments, error, words):
    with pytest.raises(error, match=words):
        one().compile("sgd", **{"loss": "mse", **arguments})


# ---------------------------------------------------------------------- mistakes that the first batch shows
def wrong(model: Any, y: Any, loss: Any, error: type[Exception], words: str, **arguments: Any) -> Any:
    with pytest.raises(error, match=words) as caught:
        judge(model, y, loss, **arguments)
    return caught.value


@pytest.mark.parametrize("what", ["loss", "loss_weights", "metrics", "weighted_metrics"])
def test_a_name_that_no_output_has_is_answered_with_the_nearest(what):
    values: Any = {"loss": {"plase": "mse"}, "loss_weights": {"plase": 2.0}}
    given = {"loss": [SPARSE, "mse"], what: values.get(what, {"plase": ["mae"]})}
    error = wrong(two(), [KIND, PLACE], error=ArgumentError, words=f"^{what} names an output that the model", **given)
    assert error.expected == "'kind', 'place'" and error.received == "'plase'" and error.fix == "did you mean 'place'?"


@pytest.mark.parametrize("what", ["loss", "loss_weights", "metrics", "weighted_metrics"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_list_of_the_wrong_length_is_refused(what, count):
    lists = {"loss": ["mse"] * count, "loss_weights": [1.0] * count}
    given = {"loss": [SPARSE, "mse"], what: lists.get(what, [["mae"]] * count)}
    words = f"^{what} has {count} entries for 2 outputs"
    error = wrong(two(), [KIND, PLACE], error=ArgumentError, words=words, **given)
    assert error.expected == "one for each of 'kind', 'place'" and "a list of 2" in error.fix


def test_two_losses_for_one_output_are_refused():
    wrong(one(), KIND, [SPARSE, "mse"], ArgumentError, "loss has 2 entries for 1 outputs")


@pytest.mark.parametrize("y", [KIND, [KIND], [KIND, PLACE, PLACE]], ids=["array", "one", "three"])
def test_the_wrong_number_of_targets_is_refused(y):
    count = len(y) if isinstance(y, list) else 1
    words = f"The model has 2 outputs, but the targets are {count}"
    assert "one target for each of kind, place" in wrong(two(), y, [SPARSE, "mse"], DataError, words).expected


@pytest.mark.parametrize("build", [two, by_name])
def test_targets_for_an_output_that_is_not_there_are_refused(build):
    y = {"kind": KIND, "plase": PLACE}
    assert (
        wrong(build(), y, [SPARSE, "mse"], UnknownNameError, "no output named 'plase'").fix == "did you mean 'place'?"
    )


@pytest.mark.parametrize("y", [{"kind": KIND}, [KIND, None]], ids=["missing", "none"])
def test_a_loss_without_a_target_is_refused(y):
    error = wrong(two(), y, [SPARSE, "mse"], DataError, "The output 'place' has a loss, but no target")
    assert "'place': None" in error.fix


@pytest.mark.parametrize(
    "metric", [metrics.MeanAbsoluteError(), TorchMeanAbsoluteError()], ids=["ours", "torchmetrics"]
)
@pytest.mark.parametrize(
    "arguments", [lambda m: {"metrics": [m]}, lambda m: {"metrics": {"place": [m]}, "weighted_metrics": {"place": m}}]
)
def test_one_metric_object_cannot_count_twice(metric, arguments):
    y = [PLACE[:, :1] + np.zeros((12, 3), "float32"), PLACE]
    error = wrong(two(), y, "mse", ArgumentError, "One metric object cannot count for two", **arguments(metric))
    assert error.received == f"{metric!r} twice"


def test_labels_of_the_wrong_form_are_refused_before_the_first_step():
    model = two()
    one_hot = np.eye(3, dtype="float32")[KIND]
    error = wrong(model, [one_hot, PLACE], [SPARSE, "mse"], TargetError, "the labels of output 'kind' are one-hot")
    assert "CategoricalCrossentropy" in error.fix
    wrong(one(), one_hot, SPARSE, TargetError, "the labels are one-hot")
    wrong(one(), KIND, "categorical_crossentropy", TargetError, "the labels are class numbers")
    wrong(one(units=2, activation=None), PLACE[:, :1], "mse", ShapeError, "compares each prediction with a label")


# ---------------------------------------------------------------------- labels out of range
BAD = np.where(np.arange(12) == 7, 5, KIND)


def fit(model: Any, y: Any, **arguments: Any) -> None:
    model.fit(X, y, **{"batch_size": 4, "shuffle": False, "verbose": 0, **arguments})


def expect_out_of_range(model: Any, y: Any, words: str = "Label 5 at index 7 is not a class") -> None:
    before = model.get_weights()
    with pytest.raises(TargetError, match=words):
        fit(model, y)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "form",
    [np.asarray, torch.from_numpy, lambda y: y[:, None], lambda y: y.astype("float32"), lambda y: {"out": y}],
    ids=["array", "tensor", "column", "floats", "dict"],
)
def test_labels_are_checked_all_at_once_before_the_first_step(form):
    """The bad label is in the second batch, and nothing has been trained by then."""
    model = one()
    model.compile("sgd", SPARSE)
    expect_out_of_range(model, form(BAD), r"Label 5(\.0)? at index (7|\(7, 0\)) is not a class")


def test_labels_of_each_output_are_checked():
    model = two()
    model.compile("sgd", [SPARSE, "mse"])
    expect_out_of_range(model, [BAD, PLACE], "Label 5 at index 7 is not a class of output 'kind'")


def test_labels_are_checked_in_each_fit_whatever_came_before():
    model = one()
    model.compile("sgd", SPARSE)
    model.evaluate(X, KIND, verbose=0)
    expect_out_of_range(model, BAD)
    fit(model, KIND)
    expect_out_of_range(model, BAD)


def test_labels_are_checked_once_in_a_fit(monkeypatch):
    calls = []
    monkeypatch.setattr(Plan, "check_labels", lambda self, labels, y_pred: calls.append(len(labels)))
    model = one()
    model.compile("sgd", SPARSE)
    fit(model, KIND, epochs=3)
    assert calls == [12]
    fit(model, KIND)
    assert calls == [12, 12]
    model.evaluate(X, KIND, verbose=0)
    assert calls == [12, 12]


def test_a_label_that_is_left_out_may_be_outside():
    model = one()
    model.compile("sgd", losses.SparseCategoricalCrossentropy(ignore_class=5))
    fit(model, BAD)
    model.compile("sgd", losses.SparseCategoricalCrossentropy(ignore_class=-1))
    expect_out_of_range(model, BAD)


def test_labels_may_be_sparse_in_memory():
    model = one()
    model.compile("sgd", SPARSE)
    fit(model, scipy.sparse.csr_matrix(KIND[:, None]))
    expect_out_of_range(model, scipy.sparse.csr_matrix(BAD[:, None]), r"Label 5 at index \(7, 0\) is not a class")
