"""The audit: what is declared, what is measured, what is found, what could not be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from shrinkwise.errors import SettingError
from shrinkwise.regularization.apply.stephook import hooks_of
from shrinkwise.regularization.audit.finding import Seen
from shrinkwise.regularization.audit.findings import findings_in
from shrinkwise.regularization.audit.groups import Group, groups_of_each
from shrinkwise.regularization.audit.measuring.apart import Loss
from shrinkwise.regularization.audit.measuring.attached import (
    actions_of_hooks,
    has_standin,
    needs_whole_weights,
    penalised_as_wholes,
    penalised_by_gradients,
)
from shrinkwise.regularization.audit.measuring.exact import step_exactly
from shrinkwise.regularization.audit.measuring.looking import invariance_of, look_at_loss, without_wrappers
from shrinkwise.regularization.audit.measuring.standins import measure
from shrinkwise.regularization.audit.measuring.trial import CannotRebuildError
from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.audit.reading import Evidence, read_parameter
from shrinkwise.regularization.audit.result import Audit
from shrinkwise.regularization.audit.subject import Subject, read_subject
from shrinkwise.regularization.rules import Placement, Role, place
from shrinkwise.regularization.rules.fold import listed
from shrinkwise.regularization.rules.snapshot import local

_CAN_BE_INVARIANT = (Role.WEIGHT, Role.DIRECTION, Role.LORA, Role.UNKNOWN)


def audit(
    model: Any,
    optimizer: Any = None,
    *,
    inputs: Any = None,
    loss: Loss | None = None,
    exact: bool = False,
    depth: int | None = None,
) -> Audit:
    """Say which weights an optimiser really shrinks, by how much a step, and why; in code that need not use Shrinkwise.

    What shrinks is measured on stand-ins of a few values each, stepped by an optimiser of the same class and options with zero
    gradients, so it is safe beside a model that fills the device. Everything is left as it was.

    Args:
        model: A module, wrapped or not; a tuple of a module and its optimisers; a LightningModule; a Hugging Face Trainer.
        optimizer: An optimiser, or several in a list. Without one, only roles and what ``loss`` and ``inputs`` show.
        inputs: One batch, as ``loss`` takes it; without a loss as the model takes it: a tensor, a tuple of positional or a mapping
            of keyword arguments. Each weight that shrinks is doubled in train mode to see whether the output stays, two forward
            passes for each. The host holds a copy of the parameters meanwhile, as a forward pass may write some.
        loss: ``loss(model, inputs)``, the tensor that is minimised: penalties in it are found, and rows that gradient hooks freeze.
        exact: Step the real optimiser with zero gradients, step hooks included, and put back parameters, buffers, gradients, state
            and random generators to the last bit, of optimisers that it holds too. The host needs room for a copy of them all. What
            a hook writes elsewhere stays.
        depth: How many levels of repeated layers the table writes out, the outermost first; 0 or None folds all.

    Returns:
        What was seen. Print it, or take ``to_dict``, ``to_json`` or ``to_frame``.

    Raises:
        ModelError: ``model`` is nothing that can be audited, or does not run on ``inputs``.
        SettingError: The optimiser holds none of the model's parameters, the loss or the model in train mode raised an error, or
            ``depth`` is no number of levels.

    AdamW removes lr·weight_decay of a weight; by torch's default of biases and norms too:

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))
    >>> seen = audit(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
    >>> seen["0.weight"].penalty, seen["0.weight"].declared_shrink, round(seen["0.weight"].measured_shrink, 7)
    ('decay by weight_decay', 1e-05, 1e-05)
    >>> [warning.code for warning in seen.warnings]
    ['decayed_norm', 'decayed_bias']
    """
    _check_depth(depth)
    subject = read_subject(model, optimizer)
    _check_made(subject.model, is_run=inputs is not None or loss is not None)
    placements = place(subject.model, inputs if loss is None else None)
    held = groups_of_each(subject.optimizers)
    _check_held(placements, held, subject)
    evidence = Evidence(has_optimizer=bool(subject.optimizers))
    not_checked: list[str] = []
    if subject.optimizers:
        evidence.attached = actions_of_hooks(subject.optimizers)
        _measure(subject, evidence, not_checked, exact=exact)
    else:
        not_checked.append("what shrinks: no optimiser was given")
    inner = without_wrappers(subject.model)
    look_at_loss(inner, loss, inputs, evidence, not_checked)
    parameters = tuple(read_parameter(placed, held.get(id(placed.parameter), []), evidence) for placed in placements)
    if inputs is None and loss is None:
        not_checked.append("scale-invariant weights: no inputs were given")
    else:
        tried = [p.parameter for p, seen in zip(placements, parameters, strict=True) if _may_be_invariant(p, seen, evidence)]
        invariant = invariance_of(inner, loss, inputs, tried, not_checked)
        parameters = tuple(
            replace(seen, is_scale_invariant=invariant.get(id(placed.parameter)))
            for placed, seen in zip(placements, parameters, strict=True)
        )
    seen = _seen(subject, placements, parameters, held, evidence)
    names = tuple(type(optimizer).__name__ for optimizer in subject.optimizers)
    return Audit(type(inner).__name__, names, parameters, findings_in(seen), tuple(not_checked), depth or 0)


def _check_depth(depth: Any) -> None:
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise SettingError(f"depth is {depth!r}", "it counts levels of repeated layers", "give 0 or a positive whole number")


def _check_made(model: nn.Module, *, is_run: bool) -> None:
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            cause = "a lazy module makes its parameters at its first forward pass"
            raise SettingError(f"{name} has no shape yet", cause, "put one batch through it")
        if is_run and parameter.is_meta:
            cause = "on the meta device a parameter has no values, and nothing can be run"
            raise SettingError(f"{name} has no values", cause, "leave out inputs and loss, or make the model on a real device")


def _check_held(placements: Sequence[Placement], held: dict[int, list[Group]], subject: Subject) -> None:
    if subject.optimizers and not any(id(placed.parameter) in held for placed in placements):
        raise SettingError(
            "the optimiser holds none of the model's parameters",
            "it was made for another model, or before the parameters were replaced (sharding, loading with assign=True)",
            f"make it from this model: {type(subject.optimizers[0]).__name__}(model.parameters(), ...)",
        )


def _measure(subject: Subject, evidence: Evidence, not_checked: list[str], *, exact: bool) -> None:
    """Measure on stand-ins, and by real steps where that is asked for; real steps win."""
    sparse = _sparse(subject.model)
    if exact:
        steps = step_exactly(subject.model, subject.optimizers, sparse)
        evidence.real, evidence.real_by_hooks = steps.shrink, steps.by_hooks
        not_checked += [f"the real step of {name}: it raised {why}" for name, why in steps.failures.items()]
        if any(p.is_meta for p in subject.model.parameters()):
            not_checked.append("the real step: parameters on the meta device have no values, so stand-ins were stepped for them")
    evidence.needs_whole = penalised_as_wholes(subject.optimizers)
    evidence.by_gradient = penalised_by_gradients(subject.optimizers)
    for optimizer in subject.optimizers:
        name = type(optimizer).__name__
        try:
            evidence.standins[id(optimizer)] = measure(optimizer, sparse)
        except CannotRebuildError as error:
            what = f"what {name} does, on stand-ins, and so whether its weight_decay is L2 or decay: {error}"
            not_checked.append(what + ("" if exact else "; exact=True steps the real one"))
        if not exact:
            not_checked += _only_exactly(optimizer, evidence)
    if complex_ := [name for name, parameter in subject.model.named_parameters() if parameter.is_complex()]:
        not_checked.append(f"what is removed of complex parameters, as real ones only are measured: {listed(complex_)}")


def _only_exactly(optimizer: Optimizer, evidence: Evidence) -> Iterator[str]:
    """Yield what stand-ins do not show and a real step would."""
    name = type(optimizer).__name__
    n_unknown = sum(not has_standin(hook) for hook in hooks_of(optimizer))
    if n_unknown:
        yield f"{n_unknown} step hook{'s' * (n_unknown > 1)} of {name}: exact=True runs them"
    if kinds := needs_whole_weights(optimizer):
        yield f"what {' and '.join(kinds)} removes, on whole weights only: exact=True measures it"
    if any(not one.laws.is_proportional for one in evidence.standins.get(id(optimizer), {}).values()):
        yield f"what {name} removes of whole weights: it is not in proportion, a sample was stepped, and exact=True measures it"


def _may_be_invariant(placed: Placement, seen: AuditedParameter, evidence: Evidence) -> bool:
    """Whether it is worth knowing: of a weight that is regularised, or of any where there is no optimiser."""
    is_weight = placed.role in _CAN_BE_INVARIANT and not placed.is_frozen
    return is_weight and (seen.is_regularised or not evidence.has_optimizer)


def _seen(
    subject: Subject,
    placements: Sequence[Placement],
    parameters: tuple[AuditedParameter, ...],
    held: dict[int, list[Group]],
    evidence: Evidence,
) -> Seen:
    names = {id(placed.parameter): placed.name for placed in placements}
    stale: dict[str, int] = {}
    for optimizer in subject.optimizers:
        for options in optimizer.param_groups:
            for parameter in options["params"]:
                if id(parameter) not in names:
                    label = held[id(parameter)][0].label
                    stale[label] = stale.get(label, 0) + 1
    rows = tuple((names[key], rows) for key, rows in evidence.frozen_rows.items() if key in names)
    return Seen(parameters, _sharing(placements, held, subject), tuple(stale.items()), rows, len(subject.optimizers))


def _sharing(placements: Sequence[Placement], held: dict[int, list[Group]], subject: Subject) -> tuple[tuple[str, ...], ...]:
    """Return the names of distinct trained parameters whose values lie in one place."""
    places: dict[tuple[int, torch.Size], list[str]] = {}
    for placed in placements:
        values = local(placed.parameter)
        is_stepped = id(placed.parameter) in held or not subject.optimizers
        if values.numel() and not values.is_meta and is_stepped and not placed.is_frozen:
            places.setdefault((values.data_ptr(), values.shape), []).append(placed.name)
    return tuple(tuple(names) for names in places.values() if len(names) > 1)


def _sparse(model: nn.Module) -> frozenset[int]:
    """Return the identities of the weights whose gradients are sparse."""
    modules = (module for module in model.modules() if getattr(module, "sparse", None) is True)
    return frozenset(id(module.weight) for module in modules if isinstance(getattr(module, "weight", None), nn.Parameter))
