"""One tensor's value with another tensor's gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def with_value(value: Callable[[], torch.Tensor], path: torch.Tensor) -> torch.Tensor:
    """Return the value that ``value()`` gives, bit for bit, with the gradient of ``path``.

    Unlike ``path + (value - path).detach()`` it does not round.

    Args:
        value: Computes the value; called without a graph. It is a function, called only after ``path`` exists, because
            autocast keeps its first half-precision copy of a weight: some versions of torch hand a copy that was made
            without a graph to ``path`` too, whose weight then gets no gradient (pytorch#112583).
        path: Tensor of the same shape and dtype, whose graph the result takes over.

    Returns:
        A tensor of that shape and dtype.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> y = with_value(lambda: torch.tensor([0.0, 4.0]), x * x)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([0.0, 4.0], [2.0, 4.0])
    """
    with torch.no_grad():
        known = value()
    return _ValueAndPath.apply(known, path)  # type: ignore[no-any-return, no-untyped-call]


class _ValueAndPath(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: torch.Tensor, path: torch.Tensor) -> torch.Tensor:
        # A fresh tensor: autograd treats an input handed back as a view of it, which forbids in-place operations behind it.
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
        """Keep nothing: the gradient passes as it comes."""

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, grads[0]
