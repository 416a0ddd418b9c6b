"""Weights whose size the network does not notice, found by doubling them.

A weight that a normalisation layer follows is scale-invariant: L2 and decay only change the effective learning
rate there (van Laarhoven, "L2 regularization versus batch and weight normalization", 2017, section 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from shrinkwise.errors import SettingError
from shrinkwise.regularization.audit.arithmetic import local
from shrinkwise.seeding import isolated_rng


@torch.no_grad()
def scale_invariant(model: nn.Module, inputs: Any, parameters: Sequence[nn.Parameter]) -> frozenset[int]:
    """Find the parameters that can be doubled in train mode without a change of the output.

    One forward pass for each parameter, with equal random numbers; each parameter is put back to the last bit. Buffers change as in
    any forward pass: the caller puts them back.

    Args:
        model: The model, unwrapped.
        inputs: A tensor, a tuple or list of positional arguments, or a mapping of keyword arguments.
        parameters: Those to try.

    Returns:
        The identities of those that can.

    Raises:
        SettingError: The model does not take the inputs.
    """
    model.train()
    reference = _output(model, inputs)
    found = set()
    for parameter in parameters:
        values = local(parameter)
        kept = values.clone()
        try:
            values.mul_(2)
            if bool(values.any()) and _same(reference, _output(model, inputs)):
                found.add(id(parameter))
        finally:
            values.copy_(kept)
    return frozenset(found)


def _output(model: nn.Module, inputs: Any) -> list[torch.Tensor]:
    try:
        with isolated_rng("audit", "forward"):
            if isinstance(inputs, Mapping):
                output = model(**inputs)
            elif isinstance(inputs, tuple | list):
                output = model(*inputs)
            else:
                output = model(inputs)
    except Exception as error:
        raise SettingError(
            f"the model raised {type(error).__name__} ({error})",
            "inputs are put through it to see which weights are scale-invariant",
            "give what it takes: a tensor, a tuple of positional arguments, or a mapping of keyword arguments",
        ) from error
    return [tensor.detach().clone() for tensor in _tensors(output) if tensor.is_floating_point()]


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from _tensors(item)
    elif isinstance(output, list | tuple):
        for item in output:
            yield from _tensors(item)
    elif hasattr(output, "__dict__"):
        yield from _tensors(vars(output))


def _same(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> bool:
    """Whether outputs agree but for rounding and the small constant in a norm's denominator."""
    return bool(before) and all(
        float((old.double() - new.double()).norm()) <= 10 * max(torch.finfo(old.dtype).eps, 1e-4) * float(old.double().norm())
        for old, new in zip(before, after, strict=True)
    )
