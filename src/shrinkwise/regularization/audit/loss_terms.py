"""Penalties that a loss adds to the data's part, found by taking the loss apart.

A penalty uses parameters outside the forward pass of every module. There each parameter is replaced by a leaf of its own: the
gradient of the loss with respect to the leaf is then exactly the penalty's, whatever the data say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shrinkwise.errors import SettingError
from shrinkwise.regularization.audit.action import Action
from shrinkwise.regularization.audit.arithmetic import parts, squared_norm
from shrinkwise.regularization.audit.forwards import Forwards, watched
from shrinkwise.seeding import isolated_rng, torch_generator

Loss = Callable[[nn.Module, Any], torch.Tensor]
"""Takes the model and the inputs and gives the loss that is minimised, as a tensor of one element."""


def terms_in_loss(model: nn.Module, loss: Loss, inputs: Any) -> dict[int, tuple[Action, ...]]:
    """Find what a loss does to each parameter beside the data's part.

    The loss is taken twice, the second time with the leaves doubled: a gradient that doubles is that of L2, one that
    stays is that of L1 or of a norm that is not squared.

    Args:
        model: The model, unwrapped.
        loss: The loss that is minimised.
        inputs: What it takes beside the model.

    Returns:
        What acts, by the identity of the parameter; L2 with ``lam`` in the package's unit, mean loss + (lam/2)·Σw².

    Raises:
        SettingError: The loss raised an error, or gave something else than one number.
    """
    once, twice = (_gradients(model, loss, inputs, scale) for scale in (1.0, 2.0))
    parameters = {id(p): p for p in model.parameters()}
    found = {}
    for key in once.keys() & twice.keys():
        if actions := _read(_point(parameters[key], 1.0), once[key], twice[key]):
            found[key] = actions
    return found


def evaluate(model: nn.Module, loss: Loss, inputs: Any) -> torch.Tensor:
    """Return the loss as a tensor of one element.

    Raises:
        SettingError: It raised an error, or gave something else.
    """
    mend = "give a callable that takes the model and the inputs and returns the loss: loss=lambda model, batch: ..."
    try:
        with isolated_rng("audit", "loss"):
            value = loss(model, inputs)
    except Exception as error:
        raise SettingError(
            f"loss(model, inputs) raised {type(error).__name__} ({error})", "it is called to see what it holds", mend
        ) from error
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
        raise SettingError(f"loss(model, inputs) gave a {type(value).__name__}{shape}", "a loss is one number", mend)
    return value


def _gradients(model: nn.Module, loss: Loss, inputs: Any, scale: float) -> dict[int, torch.Tensor]:
    with watched(model) as forwards, _Apart(model, scale, forwards) as apart, torch.enable_grad():
        value = evaluate(model, loss, inputs)
    leaves = apart.leaves
    if not leaves or not value.requires_grad:
        return {}
    gradients = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True)
    return {key: gradient for key, gradient in zip(leaves, gradients, strict=True) if gradient is not None}


class _Apart(TorchFunctionMode):
    """Gives every use of a parameter outside the model's forward passes a leaf instead."""

    def __init__(self, model: nn.Module, scale: float, forwards: Forwards) -> None:
        super().__init__()
        self.forwards, self.scale = forwards, scale
        self.parameters = {id(p): p for p in model.parameters() if p.is_floating_point()}
        self.leaves: dict[int, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if not self.forwards.depth:
            args, kwargs = self._replaced(args), self._replaced(kwargs or {})
        return func(*args, **(kwargs or {}))

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._leaf(value) if id(value) in self.parameters else value
        if isinstance(value, dict):
            return {key: self._replaced(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self._replaced(item) for item in value)
        return value

    def _leaf(self, parameter: torch.Tensor) -> torch.Tensor:
        if id(parameter) not in self.leaves:
            point = _point(parameter, self.scale)
            self.leaves[id(parameter)] = point.requires_grad_(parameter.requires_grad)
        return self.leaves[id(parameter)]


@torch.no_grad()
def _point(parameter: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the weights times ``scale``; of a parameter that is zero everywhere, where every penalty looks alike, random ones."""
    values = parameter.detach()
    if not values.any():
        values = torch.randn(values.shape, generator=torch_generator("audit", "loss")).to(values.device, values.dtype)
    return values * scale


def _read(weight: torch.Tensor, once: torch.Tensor, twice: torch.Tensor) -> tuple[Action, ...]:
    """Tell from the gradients at w and at 2w what penalty they belong to."""
    if not once.any() and not twice.any():
        return ()
    tolerance = 1e-3 if weight.dtype in (torch.float32, torch.float64) else 3e-2
    for other in ("l1", "norm"):
        strengths, shares, residual = _fit(weight, once, twice, other)
        if residual <= tolerance:
            kinds = zip(("l2", other), strengths, shares, strict=True)
            return tuple(Action(kind, "loss", float(f"{lam:.6g}")) for kind, lam, share in kinds if share > tolerance)
    return (Action("other", "loss", None),)


_Two = tuple[float, float]


def _fit(weight: torch.Tensor, once: torch.Tensor, twice: torch.Tensor, other: str) -> tuple[_Two, _Two, float]:
    """Fit a·w + b·s, where s is sign(w) or w/‖w‖, to the gradient at w, and 2a·w + b·s to that at 2w.

    Returns:
        (a, b), the norms of both parts and of what is left, each as a fraction of the gradients'.
    """
    norm = squared_norm(weight) ** 0.5
    gram, right, size = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), 0.0
    for w, g1, g2 in parts(weight, once, twice):
        s = w.sign() if other == "l1" else w / norm
        columns = torch.stack([torch.cat([w, 2 * w]), torch.cat([s, s])])
        target = torch.cat([g1, g2])
        gram += columns @ columns.T
        right += columns @ target
        size += float(target @ target)
    fitted = torch.linalg.solve(gram, right)
    a, b = fitted.tolist()
    share_a, share_b = (fitted.abs() * (gram.diag() / size).sqrt()).tolist()
    return (a, b), (share_a, share_b), (max(size - float(right @ fitted), 0.0) / size) ** 0.5
