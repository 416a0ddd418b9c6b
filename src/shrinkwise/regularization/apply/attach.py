"""A penalty that acts at an optimiser's step, through torch's own step hooks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, cast

import torch
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from shrinkwise.errors import DecayRoundingWarning, SettingError
from shrinkwise.regularization.apply.batch import Batch, Term, batches
from shrinkwise.regularization.apply.clock import Clock, is_skipped
from shrinkwise.regularization.apply.optimizers import counted, group_of_each
from shrinkwise.regularization.penalties import Scale
from shrinkwise.regularization.strength.schedules import Schedule

Form = Literal["coupled", "decoupled", "proximal"]
"""How a penalty acts at a step: see ``Bound.attach``."""


class Attached:
    """The penalties on one optimiser: what its step hooks do.

    Args:
        terms: The penalties, one parameter each; those that the optimiser does not hold are left alone.
        optimizer: The optimiser, unwrapped.
        form: How they act; constraints project after the step in every form.
        schedules: Kind -> schedule, for the kinds that have one.
    """

    def __init__(self, terms: Sequence[Term], optimizer: Optimizer, form: Form, schedules: Mapping[str, Schedule]) -> None:
        self.terms, self.form, self.schedules = tuple(terms), form, schedules
        group_of = group_of_each(optimizer)
        self.batches = batches(terms, group_of)
        self.clock = Clock.of(optimizer) if schedules else None
        self._warned = False
        self._names = {key: term.placement.name for term in terms if (key := id(term.placement.parameter)) in group_of}

    def register(self, optimizer: Optimizer) -> Iterable[RemovableHandle]:
        """Add the hooks that the form needs to an optimiser."""
        if self.form == "coupled" and any(not batch.penalty.is_constraint for batch in self.batches):
            yield optimizer.register_step_pre_hook(StepHook(self, self.add_gradients))
        if self.form == "decoupled":
            yield optimizer.register_step_pre_hook(StepHook(self, self.descend))
        if self.form == "proximal" or any(batch.penalty.is_constraint for batch in self.batches):
            yield optimizer.register_step_post_hook(AfterStepHook(self, self.move_to_prox))

    @torch.no_grad()
    def add_gradients(self, optimizer: Optimizer) -> None:
        """Add each penalty's gradient to ``grad``, scaled as a fused optimiser's gradients still are under a GradScaler."""
        self._check_still_held(optimizer)
        grad_scale = getattr(optimizer, "grad_scale", None)
        for batch, weights in self._acting():
            scale: Scale = self._factor(batch)
            if optimizer.param_groups[batch.group or 0].get("maximize"):
                scale = -scale  # the optimiser turns the sum of both around, and a penalty is never to grow
            if isinstance(grad_scale, torch.Tensor):
                scale = grad_scale.to(weights[0].device, torch.float32) * scale
            grads = cast("list[torch.Tensor]", [weight.grad for weight in weights])
            if any(grad.is_sparse for grad in grads):
                cause = "a sparse gradient has no place for a penalty on every row"
                raise SettingError("form is 'coupled' under sparse gradients", cause, "use decay_rows, or form='decoupled'")
            batch.penalty.add_grads_(weights, grads, scale)

    @torch.no_grad()
    def descend(self, optimizer: Optimizer) -> None:
        """Take a step of length ``lr`` on each penalty alone, before the optimiser's own."""
        self._check_still_held(optimizer)
        found_inf = getattr(optimizer, "found_inf", None)
        for batch, weights in self._acting():
            length: Scale = optimizer.param_groups[batch.group or 0]["lr"] * self._factor(batch)
            if isinstance(found_inf, torch.Tensor):
                # The fused kernel will leave this step out if it is 1; a product does not wait for the device, a question would.
                length = (1 - found_inf.to(weights[0].device)) * length
            self._warn_of_rounding(weights, length, batch)
            batch.penalty.descend_(weights, length)

    @torch.no_grad()
    def move_to_prox(self, optimizer: Optimizer) -> None:
        """Apply each penalty's proximal operator with step ``lr``, after the optimiser's own step."""
        self._check_still_held(optimizer)
        if is_skipped(optimizer):
            return
        for batch in self.batches:
            if batch.penalty.is_constraint or self.form == "proximal":
                length = float(optimizer.param_groups[batch.group or 0]["lr"]) * self._factor(batch)
                for weight in _with_gradient(batch.parameters):
                    batch.penalty.prox_(weight, length)  # type: ignore[attr-defined]  # checked when attached

    @torch.no_grad()
    def objective(self, optimizer: Optimizer, loss: Any) -> Any:
        """Add the penalty to a closure's loss where the optimiser compares losses, as a line search does; else it is data loss."""
        if not isinstance(optimizer, torch.optim.LBFGS):
            return loss
        acting = (batch for batch in self.batches if not batch.penalty.is_constraint)
        return loss + sum(float(batch.value()) * self._factor(batch) for batch in acting)

    def on_standins(self, standins: Mapping[int, torch.Tensor]) -> Attached:
        """Return a copy that acts on other tensors of other shapes, for an audit.

        Args:
            standins: Identity of a parameter -> the tensor that stands for it. Penalties that look at more than single elements
                are left out.
        """
        other = copy.copy(self)
        other._names = {}
        other.batches = tuple(
            replace(batch, parameters=[standins[id(p)] for p in batch.parameters if id(p) in standins])
            for batch in self.batches
            if batch.penalty.is_elementwise
        )
        return other

    def _check_still_held(self, optimizer: Optimizer) -> None:
        """Refuse to act on nothing: a trainer that shards after ``attach`` puts other parameters into the groups."""
        held = group_of_each(optimizer)
        if lost := [name for key, name in self._names.items() if key not in held]:
            cause = "they were replaced after attach(), as sharding does, and the penalty would act on nothing"
            raise SettingError(f"the optimiser no longer holds {counted(lost)}", cause, "bind and attach again, after that")

    def _acting(self) -> Iterable[tuple[Batch, list[torch.Tensor]]]:
        """Yield each batch that has weights to move at this step, with these weights."""
        for batch in self.batches:
            if not batch.penalty.is_constraint and (weights := _with_gradient(batch.parameters)):
                yield batch, weights

    def _factor(self, batch: Batch) -> float:
        schedule = self.schedules.get(batch.penalty.kind)
        if schedule is None or self.clock is None:
            return 1.0
        return self.clock.factor(schedule, batch.group or 0)

    def _warn_of_rounding(self, weights: Sequence[torch.Tensor], length: Scale, batch: Batch) -> None:
        """Say once that a multiplication rounds to none: w·(1 − x) is w again for every w where x is below a quarter of eps."""
        if self._warned or batch.penalty.kind != "l2" or isinstance(length, torch.Tensor):
            return
        shrink = length * batch.penalty.strength
        # In float32 only a shrink is lost that is nothing beside the step's rounding, as at either end of a schedule.
        narrow = {weight.dtype for weight in weights if torch.finfo(weight.dtype).bits < 32}
        lost = [dtype for dtype in narrow if 0 < shrink < torch.finfo(dtype).eps / 4]
        if lost:
            self._warned = True
            warnings.warn(
                f"decay is lost: a step shrinks a weight by {shrink:.2g} of itself, and {lost[0]} rounds that to nothing. "
                "Keep the weights that the optimiser steps in float32 (autocast leaves them so), or raise the strength.",
                DecayRoundingWarning,
                stacklevel=2,
            )


class Acting(Protocol):
    """What a step hook acts for."""

    terms: tuple[Term, ...]

    def objective(self, optimizer: Optimizer, loss: Any) -> Any:
        """Return what the closure is to tell the optimiser in place of its loss."""
        ...


class StepHook:
    """A hook before an optimiser's step; where the step gets a closure, after the closure, whose gradients exist only then."""

    def __init__(self, owner: Acting, act: Callable[[Optimizer], None]) -> None:
        self.owner = owner
        # Never compiled: what it reads changes at every step, and the optimiser's wrapper breaks the graph around hooks anyway.
        self.act: Callable[[Optimizer], None] = torch.compiler.disable(act)

    def __call__(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Act, or see to it that the closure does."""
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._wrapped(optimizer, kwargs["closure"])}
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._wrapped(optimizer, args[1]), *args[2:]), kwargs
        return self.act(optimizer)

    def _wrapped(self, optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
        def with_penalty() -> Any:
            loss = closure()
            self.act(optimizer)
            return self.owner.objective(optimizer, loss)

        return with_penalty


class AfterStepHook:
    """A hook after an optimiser's step."""

    def __init__(self, owner: Acting, act: Callable[[Optimizer], None]) -> None:
        self.owner = owner
        self.act: Callable[[Optimizer], None] = torch.compiler.disable(act)

    def __call__(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Act."""
        self.act(optimizer)


def acting_on(optimizer: Optimizer) -> Iterable[Acting]:
    """Yield what acts at an optimiser's step, each once."""
    hooks = [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]
    return {id(hook.owner): hook.owner for hook in hooks if isinstance(hook, StepHook | AfterStepHook)}.values()


def _with_gradient(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the parameters that this step moves: torch's own decay leaves out one whose ``grad`` is None, and so does this."""
    return [parameter for parameter in parameters if parameter.grad is not None]
