"""The values that callbacks wait for: whether they come, and which way is better."""

from __future__ import annotations

import re
import types

import pytest

from lamina.callbacks.base import Callback, CallbackList, History
from lamina.callbacks.checkpoint import ModelCheckpoint
from lamina.callbacks.logs import CSVLogger, LambdaCallback
from lamina.callbacks.monitors import check_monitors, direction, listens, unknown_monitor
from lamina.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
from lamina.callbacks.stopping import EarlyStopping
from lamina.errors import ArgumentError


@pytest.mark.parametrize(
    "name",
    """acc val_acc accuracy sparse_categorical_accuracy top_k_categorical_accuracy auc val_auc auc_1 my_auc precision
    recall f1_score fbeta_score mean_io_u binary_io_u r2_score cosine_similarity true_positives val_head_recall_2
    precision_at_recall head_f1 dice ap""".split(),
)
def test_these_are_better_when_they_grow(name):
    assert direction(name) == "max"


@pytest.mark.parametrize(
    "name",
    "loss val_loss mse mae val_root_mean_squared_error false_positives kl_divergence hinge map_loss auc_loss x".split(),
)
def test_these_are_better_when_they_shrink(name):
    assert direction(name) == "min"


def test_a_metric_that_says_its_direction_decides():
    up = types.SimpleNamespace(name="regret", direction="up")
    down = types.SimpleNamespace(name="accuracy", direction="down")
    silent = types.SimpleNamespace(name="auc")
    assert direction("val_regret", [up]) == "max"
    assert direction("val_head_regret", [silent, up]) == "max"
    assert direction("accuracy", [down]) == "min"
    assert direction("auc", [silent]) == "max"


NAMES = ["loss", "accuracy", "val_loss", "val_accuracy"]


def test_monitors_that_exist_pass_and_are_known_from_then_on():
    stopping = EarlyStopping("val_accuracy")
    check_monitors([stopping, ReduceLROnPlateau("loss"), Callback()], NAMES)
    assert stopping.logs_are_known and not EarlyStopping().logs_are_known


@pytest.mark.parametrize("callback", [EarlyStopping("val_acuracy"), ReduceLROnPlateau("val_acuracy")])
def test_an_unknown_monitor_is_refused_with_the_nearest_name(callback):
    with pytest.raises(ArgumentError) as caught:
        check_monitors([callback], NAMES)
    assert "expected: one of loss, accuracy, val_loss, val_accuracy" in str(caught.value)
    assert "did you mean 'val_accuracy'?" in str(caught.value) and type(callback).__name__ in str(caught.value)


def test_a_value_of_validation_without_validation_says_so():
    with pytest.raises(ArgumentError, match="pass validation_data or validation_split to fit, or use 'loss'"):
        check_monitors(CallbackList(EarlyStopping()), ["loss"])


def test_a_checkpoint_needs_its_monitor_only_for_the_best():
    check_monitors([ModelCheckpoint("x.keras")], ["loss"])
    with pytest.raises(ArgumentError, match="val_loss"):
        check_monitors([ModelCheckpoint("x.keras", save_best_only=True)], ["loss"])


def test_a_name_in_a_checkpoints_path_is_checked_too():
    check_monitors([ModelCheckpoint("{epoch}-{loss:.2f}.keras")], ["loss"])
    with pytest.raises(ArgumentError, match="'val_los'"):
        check_monitors([ModelCheckpoint("{val_los:.2f}.keras")], NAMES)


def test_the_learning_rate_can_be_waited_for_after_who_gives_it():
    check_monitors([LearningRateScheduler(lambda epoch: 0.1), EarlyStopping("learning_rate")], NAMES)
    with pytest.raises(ArgumentError, match="learning_rate"):
        check_monitors([EarlyStopping("learning_rate")], NAMES)


def test_a_callback_that_may_add_to_the_logs_puts_the_check_off():
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_f1"] = 0.5

    for adds in (Adds(), LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_f1=0.5))):
        stopping = EarlyStopping("val_f1")
        check_monitors([adds, stopping], NAMES)
        assert not stopping.logs_are_known
        with pytest.raises(ArgumentError, match="val_f1"):
            check_monitors([stopping, adds], NAMES)


def test_our_own_callbacks_do_not_put_the_check_off():
    with pytest.raises(ArgumentError, match="nothing_like_it"):
        check_monitors([History(), CSVLogger("x.csv"), EarlyStopping("nothing_like_it")], NAMES)


def test_a_users_callback_with_a_monitor_is_checked():
    class Watches:
        monitor = "acuracy"

    with pytest.raises(ArgumentError, match=re.escape("Watches waits for a value")):
        check_monitors([Watches()], NAMES)


def test_the_error_for_empty_logs_says_that_they_are():
    assert "they are empty" in str(unknown_monitor("X", "loss", []))


def test_an_object_without_base_class_listens_to_what_it_has():
    thing = types.SimpleNamespace(on_epoch_end=print)
    assert listens(thing, "on_epoch_end") and not listens(thing, "on_train_begin")
