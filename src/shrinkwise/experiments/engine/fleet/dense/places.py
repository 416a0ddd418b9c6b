"""Memory that every step works in: asked for by name, made once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor


class Places:
    """Tensors by name and shape, of the dtype and device of ``like``; what stands in them is whatever was left there.

    A fresh output of some megabytes at every step costs more in page faults than the arithmetic that fills it.

    Attributes:
        kept: Anything else that is made once and goes when the places are cleared.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like.new_empty(0)
        self._held: dict[Hashable, Tensor] = {}
        self.kept: dict[Hashable, Any] = {}

    def __call__(self, name: str, number: int, shape: tuple[int, ...]) -> Tensor:
        """Return the place of that name, number and shape."""
        key = (name, number, shape)
        found = self._held.get(key)
        if found is None:
            found = self._held[key] = self._like.new_empty(shape)
        return found

    def ones(self, n: int) -> Tensor:
        """Return a vector of ones."""
        if ("ones", n) not in self._held:
            self._held["ones", n] = torch.ones(n, dtype=self._like.dtype, device=self._like.device)
        return self._held["ones", n]

    def clear(self) -> None:
        """Give all of it back."""
        self._held.clear()
        self.kept.clear()
