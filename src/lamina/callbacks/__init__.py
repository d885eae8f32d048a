"""Callbacks: objects that are told what happens during training, and may act on it."""

from lamina.callbacks.backup import BackupAndRestore as BackupAndRestore
from lamina.callbacks.base import Callback as Callback
from lamina.callbacks.base import CallbackList as CallbackList
from lamina.callbacks.base import History as History
from lamina.callbacks.checkpoint import ModelCheckpoint as ModelCheckpoint
from lamina.callbacks.curves import plot_history as plot_history
from lamina.callbacks.lazy_logs import LazyLogs as LazyLogs
from lamina.callbacks.logs import CSVLogger as CSVLogger
from lamina.callbacks.logs import LambdaCallback as LambdaCallback
from lamina.callbacks.monitors import check_monitors as check_monitors
from lamina.callbacks.progress import ProgbarLogger as ProgbarLogger
from lamina.callbacks.rates import LearningRateScheduler as LearningRateScheduler
from lamina.callbacks.rates import ReduceLROnPlateau as ReduceLROnPlateau
from lamina.callbacks.stopping import EarlyStopping as EarlyStopping
from lamina.callbacks.stopping import TerminateOnNaN as TerminateOnNaN
from lamina.callbacks.tensorboard import TensorBoard as TensorBoard
