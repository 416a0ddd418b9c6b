"""How much of a weight is gone: dot products that need little memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

_PART = 2**20


def parts(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield tensors of one shape in parts of a million elements, each flat and in float64, on the host."""
    flat = [tensor.detach().reshape(-1) for tensor in tensors]
    for start in range(0, flat[0].numel(), _PART):
        yield tuple(tensor[start : start + _PART].cpu().double() for tensor in flat)


def removed(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return <w − w', w>, in float64: what a step removed along the weight.

    >>> weight = torch.tensor([3.0, -4.0])
    >>> removed(weight, 0.9 * weight) / removed(weight, 0 * weight)  # doctest: +ELLIPSIS
    0.1...
    """
    return sum(float((old - new) @ old) for old, new in parts(before, after))


def squared_norm(weight: torch.Tensor) -> float:
    """Return <w, w>, in float64."""
    return sum(float(part @ part) for (part,) in parts(weight))
