"""Learning rates that change with the step, in Keras's arguments and numbers."""

from lamina.optimizers.schedules.base import LearningRateSchedule as LearningRateSchedule
from lamina.optimizers.schedules.base import deserialize as deserialize
from lamina.optimizers.schedules.base import serialize as serialize
from lamina.optimizers.schedules.cosine import CosineDecay as CosineDecay
from lamina.optimizers.schedules.cosine import CosineDecayRestarts as CosineDecayRestarts
from lamina.optimizers.schedules.decay import ExponentialDecay as ExponentialDecay
from lamina.optimizers.schedules.decay import InverseTimeDecay as InverseTimeDecay
from lamina.optimizers.schedules.decay import PiecewiseConstantDecay as PiecewiseConstantDecay
from lamina.optimizers.schedules.decay import PolynomialDecay as PolynomialDecay
