"""A loss taken apart: what it does with parameters outside the forward pass of every module.

There each parameter is replaced by a leaf of its own, so the gradient with respect to the leaf belongs to that use alone.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shrinkwise.errors import SettingError
from shrinkwise.regularization.audit.measuring.forwards import Forwards, tensors_in, watched
from shrinkwise.seeding import isolated_rng, torch_generator

Loss = Callable[[nn.Module, Any], torch.Tensor]
"""Takes the model and the inputs and gives the loss that is minimised, as a tensor of one element."""


def evaluate(model: nn.Module, loss: Loss, inputs: Any) -> torch.Tensor:
    """Return the loss as a tensor of one element.

    Raises:
        SettingError: It raised an error, or gave something else.
    """
    mend = "give a callable that takes the model and the inputs and returns the loss: loss=lambda model, batch: ..."
    try:
        # A loss may take gradients itself, as a gradient penalty does.
        with isolated_rng("audit", "loss"), torch.enable_grad():
            value = loss(model, inputs)
    except Exception as error:
        raise SettingError(
            f"loss(model, inputs) raised {type(error).__name__} ({error})", "it is called to see what it holds", mend
        ) from error
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
        raise SettingError(f"loss(model, inputs) gave a {type(value).__name__}{shape}", "a loss is one number", mend)
    return value


def gradients_apart(
    model: nn.Module, loss: Loss, inputs: Any, scale: float = 1.0, from_weights: set[int] | None = None
) -> dict[int, torch.Tensor]:
    """Return the gradient of a loss by what it does with each parameter outside the model's forward passes.

    Args:
        model: The model, unwrapped.
        loss: The loss that is minimised.
        inputs: What it takes beside the model.
        scale: What the leaves are multiplied by.
        from_weights: Gets the identities of parameters of which a forward pass makes a single number without any data: that may be
            a penalty, and cannot be told from a normalisation.

    Returns:
        The gradients, by the identity of the parameter.

    Raises:
        SettingError: The loss raised an error, or gave something else than one number.
    """
    with watched(model) as forwards, _Apart(model, scale, forwards, from_weights) as apart:
        value = evaluate(model, loss, inputs)
    leaves = {key: leaf for key, leaf in apart.leaves.items() if leaf.requires_grad}
    if not leaves or not value.requires_grad:
        return {}
    gradients = gradients_of(value, list(leaves.values()))
    return {key: gradient for key, gradient in zip(leaves, gradients, strict=True) if gradient is not None}


def gradients_of(value: torch.Tensor, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients of a loss; None for what it does not depend on.

    Raises:
        SettingError: Its graph is gone.
    """
    try:
        return torch.autograd.grad(value.sum(), tensors, allow_unused=True)
    except RuntimeError as error:
        mend = "let loss(model, inputs) return the loss, and leave backward() to the training loop"
        raise SettingError(
            f"the loss has no gradient ({error})", "a loss that calls backward() frees its own graph", mend
        ) from error


@torch.no_grad()
def point(parameter: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """Return the weights times ``scale``; of a parameter that is zero everywhere, where every penalty looks alike, random ones."""
    values = parameter.detach()
    if not values.any():
        values = torch.randn(values.shape, generator=torch_generator("audit", "loss")).to(values.device, values.dtype)
    return values * scale


class _Apart(TorchFunctionMode):
    """Gives every use of a parameter outside the model's forward passes a leaf instead."""

    def __init__(self, model: nn.Module, scale: float, forwards: Forwards, from_weights: set[int] | None) -> None:
        super().__init__()
        self.forwards, self.scale, self.from_weights = forwards, scale, from_weights
        self.parameters = {id(p): p for p in model.parameters() if p.is_floating_point()}
        self.leaves: dict[int, torch.Tensor] = {}
        # What a forward pass makes of parameters alone, by its identity, and of which; held weakly, as it may be large.
        self.made: dict[int, tuple[weakref.ref[torch.Tensor], frozenset[int]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if not self.forwards.depth:
            return func(*self._replaced(args), **self._replaced(kwargs))
        result = func(*args, **kwargs)
        if self.from_weights is not None and isinstance(result, torch.Tensor) and result.requires_grad:
            self._follow(result, _tensors((*args, *kwargs.values())))
        return result

    def _follow(self, result: torch.Tensor, given: Iterable[torch.Tensor]) -> None:
        """Note what is made of parameters alone, and of which of them a single number is."""
        sources: set[int] = set()
        for tensor in given:
            known = self._sources(tensor)
            if known is None:
                return
            sources |= known
        if result.numel() > 1:
            self.made[id(result)] = weakref.ref(result), frozenset(sources)
        elif self.from_weights is not None:
            self.from_weights |= {key for key in sources if self.parameters[key].numel() > 1}

    def _sources(self, tensor: torch.Tensor) -> frozenset[int] | None:
        if id(tensor) in self.parameters:
            return frozenset({id(tensor)})
        reference, sources = self.made.get(id(tensor), (None, None))
        return sources if reference is not None and reference() is tensor else None

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
            self.leaves[id(parameter)] = point(parameter, self.scale).requires_grad_(parameter.requires_grad)
        return self.leaves[id(parameter)]


def _tensors(arguments: Any) -> Iterator[torch.Tensor]:
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from _tensors(argument)


def changed(inputs: Any) -> Any:
    """Return a copy of a batch with other values that are still possible ones; None where there is nothing to change.

    Along the first dimension every other example is put in its neighbour's place, which changes what a mean over them is; of
    real numbers each is made a little smaller. A batch of one set of indices is turned around.
    """
    try:
        other = copy.deepcopy(inputs)
    except Exception:  # noqa: BLE001  anything can go wrong in a copy of somebody's batch
        return None
    generator = torch_generator("audit", "changed")
    n = 0
    with torch.no_grad():
        for tensor in tensors_in(other):
            if tensor.dim() and tensor.numel() > 1:
                tensor.copy_(_changed(tensor, generator))
                n += 1
    return other if n else None


def _changed(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    doubled = tensor[torch.arange(len(tensor), device=tensor.device) // 2 * 2]
    if tensor.is_floating_point():
        return doubled * (0.5 + torch.rand(tensor.shape, generator=generator) / 2).to(tensor.device, tensor.dtype)
    return doubled if len(tensor) > 1 else tensor.flip(tensor.dim() - 1)


def old_reparametrisations(model: nn.Module) -> Iterator[str]:
    """Yield the names of weights that the old ``weight_norm`` and ``spectral_norm`` compute: plain tensors that no leaf reaches."""
    for name, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            if type(hook).__module__ in ("torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm"):
                yield f"{name}.{hook.name}".lstrip(".")
