"""The values of the logs that callbacks wait for: whether they will be there, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from lamina.errors import ArgumentError, nearest

# Names of metrics that grow as a model gets better, with whatever stands before them: `val_auc`, `head_f1_score`.
_GROWING = re.compile(
    r"(^|_)(acc|accuracy|auc|auroc|precision|recall|sensitivity|specificity|f1|f1score|fscore|f1_score|fbeta_score|"
    r"iou|io_u|dice|r2|r2_score|cosine_similarity|pearson_correlation|concordance_correlation|psnr|ssim|bleu|map|ap|"
    r"true_positives|true_negatives|precision_at_recall|recall_at_precision|sensitivity_at_specificity|"
    r"specificity_at_sensitivity)(_?\d+)?$"
)


def direction(monitor: str, metrics: Iterable[Any] = ()) -> str:
    """Whether a value is better when it is greater, `"max"`, or when it is smaller, `"min"`.

    Args:
        monitor: its name in the logs, with or without `val_`.
        metrics: metric objects; one of that name that carries `direction`, `"up"` or `"down"`, decides.

    Returns:
        What its metric says, else `"max"` for the usual names of scores, else `"min"`.

    Example:
        >>> direction("val_auc"), direction("loss"), direction("val_top_5_accuracy"), direction("mae")
        ('max', 'min', 'max', 'min')
    """
    name = monitor.removeprefix("val_")
    said = {str(getattr(m, "name", "")): getattr(m, "direction", None) for m in metrics}
    # With several outputs a metric's name follows that of its output.
    for metric in sorted(said, key=len, reverse=True):
        if said[metric] in ("up", "down") and (name == metric or name.endswith(f"_{metric}")):
            return "max" if said[metric] == "up" else "min"
    return "max" if _GROWING.search(name) else "min"


def check_monitors(callbacks: Iterable[Any], valid_names: Iterable[str]) -> None:
    """See that every value which a callback waits for will be there.

    A callback of the user's that has an `on_epoch_end` may put names of its own into the logs; those after it are then
    checked at the end of the first epoch instead.

    Args:
        callbacks: the callbacks, in order.
        valid_names: the names that an epoch's logs will have, those of validation included.

    Raises:
        ArgumentError: a callback waits for a name that nothing gives; the message offers the nearest one.

    Example:
        >>> from lamina.callbacks.stopping import EarlyStopping
        >>> check_monitors([EarlyStopping("loss")], ["loss", "accuracy"])
    """
    valid = list(dict.fromkeys(valid_names))
    for callback in callbacks:
        valid += [name for name in getattr(callback, "adds_logs", ()) if name not in valid]
        needed = getattr(callback, "needed_logs", None)
        if needed is None:
            needed = [callback.monitor] if isinstance(getattr(callback, "monitor", None), str) else []
        for name in needed:
            if name not in valid:
                raise unknown_monitor(type(callback).__name__, name, valid)
        if hasattr(callback, "logs_are_known"):
            callback.logs_are_known = True
        ours = type(callback).__module__.startswith(__name__.rpartition(".")[0])
        if listens(callback, "on_epoch_end") and (not ours or "on_epoch_end" in vars(callback)):
            return


def unknown_monitor(owner: str, name: str, valid: Iterable[str]) -> ArgumentError:
    """The error for a callback that waits for a value which no log has.

    Args:
        owner: the callback's class.
        name: what it waits for.
        valid: what there is.

    Returns:
        The error, with the nearest name.
    """
    names = list(valid)
    guess = nearest(name, names)
    fix = f"did you mean {guess!r}?" if guess else "use one of the names above"
    if name.startswith("val_") and not any(n.startswith("val_") for n in names):
        fix = f"pass validation_data or validation_split to fit, or use {name.removeprefix('val_')!r}"
    return ArgumentError(
        f"{owner} waits for a value that training does not give.",
        expected="one of " + ", ".join(names) if names else "a name that the logs have; they are empty",
        received=repr(name),
        fix=fix,
    )


def listens(callback: Any, hook: str) -> bool:
    """Whether a callback, of ours or of any other class, wants a hook called.

    Args:
        callback: the object.
        hook: the hook's name.
    """
    listens_to = getattr(callback, "listens_to", None)
    return hasattr(callback, hook) if listens_to is None else listens_to(hook)
