"""What running a model shows: its loss and its forward pass, on one batch, with everything put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from shrinkwise.regularization.audit.measuring.apart import Loss, evaluate
from shrinkwise.regularization.audit.measuring.frozen_rows import hooked, padding_rows, rows_zeroed_by_hooks
from shrinkwise.regularization.audit.measuring.invariance import call, scale_invariant
from shrinkwise.regularization.audit.measuring.loss_terms import terms_in_loss
from shrinkwise.regularization.audit.reading import Evidence
from shrinkwise.regularization.rules.snapshot import Snapshot, is_sharded, only_looking


def look_at_loss(model: nn.Module, loss: Loss | None, inputs: Any, evidence: Evidence, not_checked: list[str]) -> None:
    """Find penalties in the loss, and rows that have no gradient.

    Args:
        model: The model, unwrapped.
        loss: The loss that is minimised, if there is one.
        inputs: What it takes beside the model.
        evidence: Gets what was found.
        not_checked: Gets what could not be looked at.

    Raises:
        SettingError: The loss raised an error, or gave something else than one number.
    """
    evidence.frozen_rows = padding_rows(model)
    n_hooked = len(hooked(model))
    if loss is None:
        not_checked.append("penalties in the loss: no loss was given")
        if n_hooked:
            not_checked.append(f"gradient hooks on {n_hooked} parameters, which may freeze rows: no loss was given")
    elif any(map(is_sharded, model.modules())):
        not_checked.append("penalties in the loss: FSDP2 puts other tensors in place during a loss; audit before sharding")
    else:
        with _eagerly(model) as kept:
            evidence.in_loss = terms_in_loss(model, loss, inputs, kept, not_checked)
            if n_hooked:
                evidence.frozen_rows |= rows_zeroed_by_hooks(model, loss, inputs)


def invariance_of(
    model: nn.Module, loss: Loss | None, inputs: Any, parameters: Sequence[nn.Parameter], not_checked: list[str]
) -> dict[int, bool]:
    """Say of each parameter, by its identity, whether doubling it leaves what the model gives; of none where nothing shows it.

    Raises:
        SettingError: The loss or the model raised an error.
    """
    run = partial(call, model, inputs) if loss is None else partial(evaluate, model, loss, inputs)
    with _eagerly(model) as kept:
        invariant = scale_invariant(model, run, parameters, kept)
    if invariant is None:
        why = "the model gives no floating-point numbers" if loss is None else "the loss calls no module of the model"
        not_checked.append(f"scale-invariant weights: {why}")
        return {}
    return {id(parameter): id(parameter) in invariant for parameter in parameters}


def without_wrappers(model: nn.Module) -> nn.Module:
    """Look through wrappers that only pass on: a forward pass inside one process needs none of them."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


@contextmanager
def _eagerly(model: nn.Module) -> Iterator[Snapshot]:
    """Put everything back after forward passes, and compile nothing anew."""
    set_stance = getattr(torch.compiler, "set_stance", None)
    with only_looking(model) as kept, set_stance("force_eager") if set_stance else nullcontext():
        yield kept
