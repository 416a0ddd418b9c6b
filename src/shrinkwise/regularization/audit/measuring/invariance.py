"""Weights whose size the network does not notice, found by doubling them.

A weight that a normalisation layer follows is scale-invariant: L2 and decay only change the effective learning rate there (van
Laarhoven, "L2 regularization versus batch and weight normalization", 2017, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from shrinkwise.errors import SettingError
from shrinkwise.regularization.audit.measuring.forwards import watched
from shrinkwise.regularization.rules.snapshot import Snapshot, local
from shrinkwise.seeding import isolated_rng, torch_generator

_LOUD = 10
"""How far above rounding a random step must move the output before anything is said."""
_SAME = 0.02
"""How much of that doubling may move it: the small constant in a norm's denominator leaves a trace."""


@torch.no_grad()
def scale_invariant(
    model: nn.Module, run: Callable[[], Any], parameters: Sequence[nn.Parameter], kept: Snapshot
) -> frozenset[int] | None:
    """Find the parameters that can be doubled in train mode without a change of what the model gives.

    Two runs for each parameter, from equal buffers and random numbers: one with it doubled, one with as large a step in a random
    direction, which must change the output, or its size means nothing. Each parameter is put back to the last bit.

    Args:
        model: The model, unwrapped.
        run: Calls the model, or parts of it.
        parameters: Those to try.
        kept: Everything as it was; put back before each run, of the parameters those that a run writes, and by the caller after
            the last all of them.

    Returns:
        The identities of those that can; None where ``run`` got no floating-point numbers from a module of the model.

    Raises:
        SettingError: ``run`` does.
    """
    reference = _outputs(model, run, kept, frozenset())
    if not reference:
        return None
    written = kept.written()
    kept.restore(written)
    eps = max(torch.finfo(tensor.dtype).eps for tensor in reference)
    noise = eps * sum(float(tensor.double().norm()) for tensor in reference)
    found = set()
    for parameter in parameters:
        values = local(parameter).data  # written without a trace in its version: a graph that somebody holds stays good
        before = values.clone()
        direction = torch.randn(values.shape, generator=torch_generator("audit", "direction")).to(values.device, values.dtype)
        direction *= before.norm() / direction.norm()
        try:
            doubled = _distance(reference, _outputs(model, run, kept, written, partial(values.copy_, 2 * before)))
            moved = _distance(reference, _outputs(model, run, kept, written, partial(values.copy_, before + direction)))
        finally:
            values.copy_(before)
        if moved > _LOUD * noise and doubled < max(_SAME, 16 * eps) * moved:
            found.add(id(parameter))
    return frozenset(found)


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a model with a tensor, a tuple or list of positional arguments, or a mapping of keyword arguments.

    Raises:
        SettingError: The model raised an error.
    """
    try:
        if isinstance(inputs, Mapping):
            return model(**inputs)
        return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)
    except Exception as error:
        raise SettingError(
            f"the model raised {type(error).__name__} ({error})",
            "inputs are put through it to see which weights are scale-invariant",
            "give what it takes, a tensor, a tuple of positional or a mapping of keyword arguments; or a loss, which knows",
        ) from error


def _outputs(
    model: nn.Module, run: Callable[[], Any], kept: Snapshot, written: frozenset[int], change: Callable[[], Any] = lambda: None
) -> list[torch.Tensor]:
    kept.restore(written)
    model.train()
    change()
    with isolated_rng("audit", "forward"), watched(model) as forwards:
        run()
    return forwards.tensors()


def _distance(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> float:
    """Return how far outputs lie apart; of outputs of other shapes, such as a router's, infinitely far."""
    if [tensor.shape for tensor in before] != [tensor.shape for tensor in after]:
        return float("inf")
    return sum(float((old.double() - new.double()).norm()) for old, new in zip(before, after, strict=True))
