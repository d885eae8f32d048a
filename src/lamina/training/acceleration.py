"""`jit_compile="auto"`: while training goes on, two ways to run its steps are timed, and the faster one is kept.

Nothing but real training steps is timed, so that measuring costs no work that training would not have done. The
decisions are plain Python around three functions that are passed in; see docs/design/0004-cuda.md for their reasons.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lamina.engine import nest
from lamina.engine.masking import get_mask
from lamina.training.batches import unpack_x_y_sample_weight
from lamina.training.obstacles import obstacle_to_compiling, setting_of
from lamina.training.replay import Undo, compiled_for_replay, update_noticed
from lamina.training.stopwatch import Stopwatch

_MEASURING = "undecided", "the steps are being measured"


@dataclasses.dataclass(frozen=True)
class Rules:
    """How much is measured, and what has to come out of it.

    Args:
        warm: steps of each kind before its time is taken.
        lap: steps that are timed together; the device is waited for at the two ends of a lap alone.
        laps: how often that is done; the fastest lap counts, for what disturbs a measurement only makes it longer.
        short: seconds; a longer step keeps the device busy, and there is nothing to gain.
        ahead: seconds of eager training that must be expected, so that the time to compile can pay.
        gain: the share of the eager time that the other way must save.
        shapes: with more shapes of inputs than these before one is settled on, the steps stay eager.
    """

    warm: int = 10
    lap: int = 20
    laps: int = 3
    short: float = 0.02
    ahead: float = 60.0
    gain: float = 0.1
    shapes: int = 8


@dataclasses.dataclass
class Acceleration:
    """What `jit_compile` came to: `model.acceleration`.

    Args:
        choice: `"eager"`, `"compiled"`, or `"undecided"` while it is being measured.
        reason: why.
        shapes: of the inputs that were measured; batches of other shapes run eagerly.
        eager: seconds of an eager training step, `None` if that was not measured.
        compiled: seconds of a compiled one, likewise.
        error: what the compiler or the compiled step raised, if it did.
    """

    choice: str
    reason: str
    shapes: tuple[tuple[int, ...], ...] | None = None
    eager: float | None = None
    compiled: float | None = None
    error: str | None = None


class Chooser:
    """Runs the training steps of `fit`, eagerly at first, and finds out whether compiled ones are faster.

    Steps of one shape go through stages: `warm` steps, timed eager steps, a wait until compiling can pay, `warm`
    compiled steps, timed compiled steps, and then the faster kind for good. A step that raises an error while it is
    compiled is made again, eagerly, from the state before it, and no other is compiled; an error of the user's own
    then comes out of the eager step as it would have without any of this.

    Args:
        compile_model: gives the other forward pass of a model.
        synchronize: waits for a device.
        clock: gives seconds.
        rules: see `Rules`.
        device_type: the kind of device on which there is something to choose.
    """

    def __init__(
        self,
        compile_model: Callable[[Any], Callable[[Any], Any]] = compiled_for_replay,
        synchronize: Callable[[torch.device], Any] = torch.cuda.synchronize,
        clock: Callable[[], float] = time.perf_counter,
        rules: Rules | None = None,
        device_type: str = "cuda",
    ) -> None:
        self.rules = rules or Rules()
        self.device_type = device_type
        self._functions = compile_model, synchronize, clock
        self._failed = False
        self._steps = self._planned = 0
        self._device = torch.device(device_type)
        self._forget(None)
        self.report.choice, self.report.reason = "eager", "no training on a CUDA device yet"

    def _forget(self, setting: Hashable) -> None:
        """Know nothing, as before the first step."""
        self._stage = "looking"
        self._under_way = False
        self._setting = setting
        self._seen: Counter[Hashable] = Counter()
        self._key: Hashable = None
        self._warm = 0
        self._candidate: Callable[[Any], Any] | None = None
        self._undo: Any = None
        self._watch = self._new_watch()
        self.report = Acceleration(*_MEASURING)
        self._verdict = _MEASURING

    def _new_watch(self) -> Stopwatch:
        _, synchronize, clock = self._functions
        return Stopwatch(clock, lambda: synchronize(self._device), self.rules.lap)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # a copy of the model has weights of its own, and measures anew

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()

    # ------------------------------------------------------------------ around the steps
    def begin(self, model: Any, device: torch.device, steps: int | None) -> None:
        """A `fit` begins; `model` hands its steps to `step` until there is nothing more to choose.

        Args:
            model: what is trained.
            device: where.
            steps: how many are planned, `None` if that is not known.
        """
        if not self._failed:
            self._device = device
            self._planned = self._steps + (steps or 0)
            self._under_way = False
            model.__dict__["_accelerating"] = self

    def pause(self) -> None:
        """An epoch or `fit` ends: what comes now is not part of the steps, and may change the model."""
        self._watch.stop()
        self._under_way = False

    def _resume(self, model: Any) -> bool:
        """Whether the steps that follow are for this object to run."""
        self._under_way = True
        setting = setting_of(model)
        if setting != self._setting:
            self._forget(setting)
            self._under_way = True
        if self._stage == "eager":
            model.__dict__["_accelerating"] = None
            return False
        if self._obstructed(model):
            return False
        self.report.choice, self.report.reason = self._verdict
        if self._candidate is not None:
            self._undo = Undo(model)  # of the tensors that are there now
        return True

    def _obstructed(self, model: Any) -> bool:
        """Whether something stands in the way during this `fit`; another one may find it gone."""
        reason = obstacle_to_compiling(model)
        if reason is not None:
            self._watch.stop()
            self.report.choice, self.report.reason = "eager", reason
            model.__dict__["_accelerating"] = None
        return reason is not None

    # ------------------------------------------------------------------ a step
    def step(self, model: Any, data: Any) -> Any:
        """One training step, in the way that it is the turn of.

        Args:
            model: whose `train_step` it is.
            data: what it takes.

        Returns:
            What `train_step` returns.
        """
        if not self._under_way and not self._resume(model):
            return model.train_step(data)
        key = _key_of(data)
        if self._stage == "looking":
            return self._look(model, data, key)
        self._steps += 1
        if key != self._key:
            self._watch.stop()
            return model.train_step(data)
        if self._stage == "compiled":
            return self._compiled_step(model, data)
        return self._measured_step(model, data)

    def _look(self, model: Any, data: Any, key: Hashable) -> Any:
        """Wait for a shape that comes again and again."""
        self._steps += 1
        logs = model.train_step(data)
        self._seen[key] += 1
        if self._seen[key] == self.rules.warm:
            self._stage, self._key = "timing eager", key
            self._setting = setting_of(model)  # the first step may have built it
            self.report.shapes = tuple(shape for shape, _, _ in key)  # type: ignore[attr-defined]
        elif len(self._seen) > self.rules.shapes:
            self._stay_eager(model, f"the inputs have more than {self.rules.shapes} shapes")
        return logs

    def _measured_step(self, model: Any, data: Any) -> Any:
        """A step of a stage that ends after a number of them."""
        stage = self._stage
        if stage == "waiting":
            logs = model.train_step(data)
            self._compile_if_it_can_pay(model)
        elif stage == "timing eager":
            self._watch.start()
            logs = model.train_step(data)
            if self._watch.count() == self.rules.laps:
                self._judge_eager(model)
        elif stage == "warming up":
            with warnings.catch_warnings():  # the compiler's advice is for those who asked for a compiler
                warnings.simplefilter("ignore")
                logs = self._compiled_step(model, data)
            self._warm += 1
            if self._stage == stage and self._warm == self.rules.warm:
                self._stage, self._watch = "timing compiled", self._new_watch()
        else:
            self._watch.start()
            logs = self._compiled_step(model, data)
            if self._stage == stage and self._watch.count() == self.rules.laps:
                self._judge_compiled(model)
        return logs

    def _compiled_step(self, model: Any, data: Any) -> Any:
        """A step through the compiled pass; an eager one if that fails before the weights move."""
        optimizer, undo = model.optimizer, self._undo
        if not getattr(optimizer, "built", False):  # it is another one than before
            return model.train_step(data)
        optimizer.zero_grad()  # the gradients lie where the next recorded pass will write
        undo.take()
        model.__dict__["_compiled_forward"] = self._candidate
        with update_noticed(optimizer) as begun:
            try:
                return model.train_step(data)
            except Exception as error:
                if begun:  # then it is an error of the optimizer or of a metric, and the batch has counted
                    raise
                failure = f"{type(error).__name__}: {error}"
            finally:
                model.__dict__["_compiled_forward"] = None
        undo.back()
        self._failed = True
        self.report.error = failure
        self._stay_eager(model, "the compiled step failed")
        return model.train_step(data)

    # ------------------------------------------------------------------ decisions
    def _judge_eager(self, model: Any) -> None:
        self.report.eager = seconds = min(self._watch.laps)
        if seconds > self.rules.short:
            self._stay_eager(
                model,
                f"a step takes {1e3 * seconds:.3g} ms, and one of more than {1e3 * self.rules.short:g} ms is busy "
                "computing: what is saved between its kernels is little",
            )
            return
        self._stage = "waiting"
        self._tell("undecided", "too little training lies ahead to pay for compiling")
        self._compile_if_it_can_pay(model)

    def _compile_if_it_can_pay(self, model: Any) -> None:
        """Compile once enough steps are planned; where that is not known, as many may follow as there have been."""
        ahead = max(self._planned - self._steps, self._steps) * (self.report.eager or 0.0)
        if ahead < self.rules.ahead or self._obstructed(model):
            return
        self._tell("undecided", "the compiled steps are being measured")
        try:
            self._candidate = self._functions[0](model)
        except Exception as error:
            self._failed = True
            self.report.error = f"{type(error).__name__}: {error}"
            self._stay_eager(model, "the model could not be compiled")
            return
        self._undo = Undo(model)
        self._stage, self._warm = "warming up", 0

    def _judge_compiled(self, model: Any) -> None:
        self.report.compiled = min(self._watch.laps)
        if self.report.compiled <= (1.0 - self.rules.gain) * (self.report.eager or 0.0):
            self._stage = "compiled"
            self._tell("compiled", f"compiled steps save at least {self.rules.gain:.0%} of the time")
        else:
            self._stay_eager(model, f"compiled steps save less than {self.rules.gain:.0%} of the time")

    def _tell(self, choice: str, reason: str) -> None:
        self._verdict = self.report.choice, self.report.reason = choice, reason

    def _stay_eager(self, model: Any, reason: str) -> None:
        """Leave the steps to `model` itself."""
        self._watch.stop()
        self._stage, self._candidate, self._undo = "eager", None, None
        self._tell("eager", reason)
        model.__dict__["_accelerating"] = None


@contextmanager
def accelerated(model: Any, chooser: Chooser | None, device: torch.device, steps: int | None) -> Iterator[None]:
    """Let `chooser` run the training steps of a `fit`, if there is one and the device is of its kind.

    Args:
        model: what is trained.
        chooser: `None` where nothing is to be chosen.
        device: where it is trained.
        steps: how many steps are planned, `None` if that is not known.
    """
    if chooser is None or device.type != chooser.device_type:
        yield
        return
    chooser.begin(model, device, steps)
    try:
        yield
    finally:
        chooser.pause()
        model.__dict__["_accelerating"] = None


def _key_of(data: Any) -> tuple[tuple[Any, ...], ...]:
    """The form of a batch's inputs: all that a compiled pass depends on, apart from its setting."""
    x = unpack_x_y_sample_weight(data)[0]
    return tuple(
        (tuple(leaf.shape), leaf.dtype, get_mask(leaf) is not None) if isinstance(leaf, torch.Tensor) else ((), leaf, 0)
        for leaf in nest.flatten(x)
    )
