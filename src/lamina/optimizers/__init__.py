"""Optimizers and learning-rate schedules, in Keras's arguments and numbers, at the speed of fused kernels."""

from lamina.optimizers import schedules as schedules
from lamina.optimizers.adadelta import Adadelta as Adadelta
from lamina.optimizers.adafactor import Adafactor as Adafactor
from lamina.optimizers.adagrad import Adagrad as Adagrad
from lamina.optimizers.adam import Adam as Adam
from lamina.optimizers.adam import AdamW as AdamW
from lamina.optimizers.adamax import Adamax as Adamax
from lamina.optimizers.base import Optimizer as Optimizer
from lamina.optimizers.ftrl import Ftrl as Ftrl
from lamina.optimizers.lamb import Lamb as Lamb
from lamina.optimizers.lion import Lion as Lion
from lamina.optimizers.lookup import deserialize as deserialize
from lamina.optimizers.lookup import get as get
from lamina.optimizers.lookup import serialize as serialize
from lamina.optimizers.loss_scale import LossScaleOptimizer as LossScaleOptimizer
from lamina.optimizers.nadam import Nadam as Nadam
from lamina.optimizers.rmsprop import RMSprop as RMSprop
from lamina.optimizers.sgd import SGD as SGD
from lamina.optimizers.torch_optimizer import TorchOptimizer as TorchOptimizer
