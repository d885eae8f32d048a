"""Random numbers: one seed for everything, and generators for objects that carry a seed of their own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lamina.errors import ArgumentError


def set_random_seed(seed: int) -> None:
    """Seed Python, NumPy and torch (every device), so that a script repeats itself.

    Args:
        seed: from 0 to 2**32 - 1.

    Raises:
        ArgumentError: `seed` is no such integer.

    Example:
        >>> set_random_seed(7); a = torch.rand(2); set_random_seed(7); bool((a == torch.rand(2)).all())
        True
    """
    seed = _checked(seed, 0, 2**32, "an integer from 0 to 2**32 - 1", "set_random_seed(0)")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """Where Python's, NumPy's and torch's global random generators stand, those of all CUDA devices in use included.

    Example:
        >>> states = random_states(); a = torch.rand(2); set_random_states(states); bool((a == torch.rand(2)).all())
        True
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=True),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Put the generators where `random_states` found them.

    Args:
        states: what it gave; states of more CUDA devices than there are now are left out.
    """
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        for device, state in zip(range(torch.cuda.device_count()), states["cuda"], strict=False):
            torch.cuda.set_rng_state(state, device)


class SeedGenerator:
    """A source of random numbers of its own, apart from torch's global one.

    Args:
        seed: where it starts, an integer of 64 bits; `None` draws one from torch's global generator at first use.

    Raises:
        ArgumentError: `seed` is no such integer.

    Example:
        >>> a, b = SeedGenerator(3), SeedGenerator(3)
        >>> bool(torch.rand(1, generator=a.on("cpu")) == torch.rand(1, generator=b.on("cpu")))
        True
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed: int | None = None
        if seed is not None:
            self.seed = _checked(seed, -(2**63), 2**64, "an integer of 64 bits", "SeedGenerator(0)")
        self._generators: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device | str) -> torch.Generator:
        """The generator of `device`; the same one at every call, so the numbers go on."""
        device = torch.device(device)
        if device not in self._generators:
            if self.seed is None:
                self.seed = int(torch.randint(2**31, (), device="cpu"))
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def get_state(self) -> dict[str, Any]:
        """Where the numbers stand, for `set_state`."""
        return self.__getstate__()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave.

        Args:
            state: of this generator, or of one like it in an earlier process.
        """
        self.__setstate__(dict(state))

    def __getstate__(self) -> dict[str, object]:
        states = {str(device): g.get_state() for device, g in self._generators.items()}
        return {"seed": self.seed, "states": states}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.seed = state["seed"]  # type: ignore[assignment]
        self._generators = {}
        for device, value in state["states"].items():  # type: ignore[attr-defined]
            self.on(device).set_state(value)


def _checked(seed: object, low: int, limit: int, expected: str, fix: str) -> int:
    """`seed` as an int, if it is a whole number from `low` up to `limit`."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not low <= int(seed) < limit:
        raise ArgumentError("This cannot be a seed.", expected=expected, received=repr(seed), fix=fix)
    return int(seed)
