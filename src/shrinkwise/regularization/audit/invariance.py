"""Weights whose size the network does not notice, found by doubling them.

A weight that a normalisation layer follows is scale-invariant: L2 and decay only change the effective learning rate there (van
Laarhoven, "L2 regularization versus batch and weight normalization", 2017, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from shrinkwise.errors import SettingError
from shrinkwise.regularization.audit.arithmetic import local
from shrinkwise.regularization.audit.forwards import watched
from shrinkwise.regularization.audit.snapshot import Snapshot
from shrinkwise.seeding import isolated_rng


@torch.no_grad()
def scale_invariant(
    model: nn.Module, run: Callable[[], Any], parameters: Sequence[nn.Parameter], kept: Snapshot
) -> frozenset[int] | None:
    """Find the parameters that can be doubled in train mode without a change of what the model gives.

    One run for each parameter, from equal buffers and random numbers; each parameter is put back to the last bit.

    Args:
        model: The model, unwrapped.
        run: Calls the model, or parts of it.
        parameters: Those to try.
        kept: Everything but parameters, as it was; put back before each run, and by the caller after the last.

    Returns:
        The identities of those that can; None where ``run`` called no module of the model.

    Raises:
        SettingError: ``run`` does.
    """
    reference = _outputs(model, run, kept)
    if not reference:
        return None
    found = set()
    for parameter in parameters:
        values = local(parameter)
        before = values.clone()
        try:
            values.mul_(2)
            if bool(values.any()) and _agree(reference, _outputs(model, run, kept)):
                found.add(id(parameter))
        finally:
            values.copy_(before)
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


def _outputs(model: nn.Module, run: Callable[[], Any], kept: Snapshot) -> list[torch.Tensor]:
    kept.restore()
    model.train()
    with isolated_rng("audit", "forward"), watched(model) as forwards:
        run()
    return forwards.tensors()


def _agree(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> bool:
    """Whether outputs agree but for rounding and the small constant in a norm's denominator."""
    return len(before) == len(after) and all(
        float((old.double() - new.double()).norm()) <= 10 * max(torch.finfo(old.dtype).eps, 1e-4) * float(old.double().norm())
        for old, new in zip(before, after, strict=True)
    )
