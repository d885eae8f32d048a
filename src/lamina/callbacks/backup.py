"""`BackupAndRestore`, which lets the same script go on after it was interrupted."""

from __future__ import annotations

import os

from lamina.callbacks.base import Callback
from lamina.callbacks.checkpoint import checked_frequency
from lamina.errors import ArgumentError
from lamina.registry import CALLBACKS


@CALLBACKS.register()
class BackupAndRestore(Callback):
    """Has `fit` write the state of training to a folder, and go on from there when the same script is started again.

    These are Keras's words for `fit(resume=...)`, which does the work: a run that was interrupted goes on at the batch
    behind the last state. The folder is removed at the end, and states are written at each time that is asked for,
    whatever they cost.

    Args:
        backup_dir: the folder; one folder for one run.
        save_freq: `"epoch"`, or after how many batches to write as well.
        double_checkpoint: whether the state before the last is kept too, in case the last one cannot be read.
        delete_checkpoint: whether the files are removed when training has come to its end.

    Raises:
        ArgumentError: there is no folder's name, or `save_freq` is none of these.

    Example:
        >>> backup = BackupAndRestore("backup", save_freq=100)
        >>> backup.restored_epoch is None
        True
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not os.fspath(backup_dir):
            raise ArgumentError(
                "The backup needs a folder.", expected="a path", received=repr(backup_dir), fix="backup_dir='backup'"
            )
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = checked_frequency(save_freq)
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.restored_epoch: int | None = None
        """The epoch with which `fit` went on, `None` if it began anew."""
