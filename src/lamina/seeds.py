"""Random numbers: one seed for everything, and generators for objects that carry a seed of their own."""

from __future__ import annotations

import random

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
