"""Rows that are meant to stay as they are, and shrink all the same: a zero gradient does not stop weight decay."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from shrinkwise.regularization.audit.measuring.apart import Loss, evaluate, gradients_of
from shrinkwise.regularization.rules.snapshot import local


def padding_rows(model: nn.Module) -> dict[int, str]:
    """Return a description of the ``padding_idx`` row of each embedding that has one, by the identity of its weight.

    A row of zeros is left out: nothing can shrink there.
    """
    found = {}
    for module in model.modules():
        index, weight = getattr(module, "padding_idx", None), getattr(module, "weight", None)
        if not isinstance(index, int) or not isinstance(weight, nn.Parameter) or weight.dim() != 2:
            continue
        values = local(weight)
        # Of a shard nobody knows which rows it holds.
        is_whole = values.shape == weight.shape and not weight.is_meta
        if not is_whole or bool(values[index].any()):
            found[id(weight)] = f"row {index} (padding_idx)"
    return found


def hooked(model: nn.Module) -> list[nn.Parameter]:
    """Return the trained parameters that have gradient hooks."""
    return [p for p in model.parameters() if p.requires_grad and p._backward_hooks]


def rows_zeroed_by_hooks(model: nn.Module, loss: Loss, inputs: Any) -> dict[int, str]:
    """Find rows whose gradient is something before a parameter's hooks and exactly zero after them.

    Rows that the inputs do not reach have no gradient to begin with and are not told.

    Args:
        model: The model, unwrapped.
        loss: The loss that is minimised; one backward pass is made, no ``grad`` is written.
        inputs: What it takes beside the model.

    Returns:
        A description of the rows, by the identity of the parameter.

    Raises:
        SettingError: The loss raised an error, or gave something else than one number.
    """
    parameters = hooked(model)
    value = evaluate(model, loss, inputs)
    if not value.requires_grad:
        return {}
    before: dict[int, torch.Tensor] = {}
    handles = []
    for parameter in parameters:
        handle = parameter.register_hook(partial(_note, before, id(parameter)))
        _put_first(handle.id, parameter._backward_hooks)
        handles.append(handle)
    try:
        after = gradients_of(value, parameters)
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for parameter, gradient in zip(parameters, after, strict=True):
        if gradient is not None and id(parameter) in before:
            stopped = (before[id(parameter)] & ~_is_moved(gradient)).nonzero().flatten().tolist()
            if stopped:
                found[id(parameter)] = _described(stopped, len(before[id(parameter)]))
    return found


def _put_first(key: int, hooks: Any) -> None:
    """Let a hook see what the others are given; torch reads the plain dict beneath, so the order is made by filling it anew."""
    items = dict(hooks)
    hooks.clear()
    hooks[key] = items.pop(key)
    hooks.update(items)


def _note(seen: dict[int, torch.Tensor], key: int, gradient: torch.Tensor) -> None:
    seen[key] = _is_moved(gradient)


def _is_moved(gradient: torch.Tensor) -> torch.Tensor:
    """Return for each row whether its gradient is other than zero."""
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    return (dense.reshape(len(dense), -1) != 0).any(1) if dense.dim() else (dense != 0).reshape(1)


def _described(rows: list[int], n_rows: int) -> str:
    if len(rows) == n_rows:
        return "all of it (a gradient hook)"
    shown = ", ".join(map(str, rows[:3])) + (", ..." if len(rows) > 3 else "")
    return f"{'row' if len(rows) == 1 else 'rows'} {shown} (a gradient hook)"
