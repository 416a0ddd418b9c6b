"""A penalty that acts at an optimiser's step, without a graph."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import torch
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from shrinkwise.errors import SettingError
from shrinkwise.regularization.apply import guard
from shrinkwise.regularization.apply.batch import Batch, Term, batches
from shrinkwise.regularization.apply.clock import Clock, is_skipped
from shrinkwise.regularization.apply.optimizers import check_still_held, group_of_each
from shrinkwise.regularization.apply.rounding import lost_to, warn_of_rounding
from shrinkwise.regularization.apply.stephook import AfterStep, BeforeStep, register
from shrinkwise.regularization.penalties import Proximal, Scale
from shrinkwise.regularization.strength.schedules import Schedule

Form = Literal["coupled", "decoupled", "proximal"]
"""How a penalty acts at a step: see ``Bound.attach``."""

_AT_STEP = ("by attach()", "set weight_decay=0 in the optimiser, or leave attach() out")


class Attached:
    """The penalties on one optimiser: what its step hooks do.

    Args:
        terms: The penalties, one parameter each; those that the optimiser does not hold are left alone until it does.
        optimizer: The optimiser, unwrapped.
        form: How they act; constraints project after the step in every form.
        schedules: Kind -> schedule, for the kinds that have one.

    Raises:
        SettingError: A parameter would be penalised twice by penalties of one kind.
    """

    acts_on_weights: ClassVar[bool] = True

    def __init__(self, terms: Sequence[Term], optimizer: Optimizer, form: Form, schedules: Mapping[str, Schedule]) -> None:
        guard.check_single(terms, optimizer, *_AT_STEP)
        self.terms, self.form, self.schedules = tuple(terms), form, schedules
        self.clock = Clock.of(optimizer) if schedules else None
        self._warned = False
        self._held: dict[int, int] = {}
        self.batches: tuple[Batch, ...] = ()
        self._gather(group_of_each(optimizer))

    def register(self, optimizer: Optimizer) -> Iterator[RemovableHandle]:
        """Add the hooks that the form needs to an optimiser."""
        if self.form == "coupled" and any(not term.penalty.is_constraint for term in self.terms):
            yield register(optimizer, _BeforeGradientStep(self, self.add_gradients))
        if self.form == "decoupled":
            yield register(optimizer, BeforeStep(self, self.descend))
        if self.form == "proximal" or any(term.penalty.is_constraint for term in self.terms):
            yield register(optimizer, AfterStep(self, self.move_to_prox))
        yield optimizer.register_load_state_dict_post_hook(self._check)

    @torch.no_grad()
    def add_gradients(self, optimizer: Optimizer) -> None:
        """Add each penalty's gradient to ``grad``, scaled as a fused optimiser's gradients still are under a GradScaler."""
        self._check(optimizer)
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
        self._check(optimizer)
        found_inf = getattr(optimizer, "found_inf", None)
        for batch, weights in self._acting():
            length: Scale = optimizer.param_groups[batch.group or 0]["lr"] * self._factor(batch)
            self._warn_of_rounding(weights, length, batch)
            if isinstance(found_inf, torch.Tensor):
                # The fused kernel will leave this step out if it is 1; a product does not wait for the device, a question would.
                length = (1 - found_inf.to(weights[0].device)) * length
            batch.penalty.descend_(weights, length)

    @torch.no_grad()
    def move_to_prox(self, optimizer: Optimizer) -> None:
        """Apply each penalty's proximal operator with step ``lr``, after the optimiser's own step."""
        if is_skipped(optimizer):
            return
        self._check(optimizer)
        acting = [*self._acting(constraints=True), *(self._acting() if self.form == "proximal" else ())]
        for batch, weights in sorted(acting, key=lambda pair: pair[0].penalty.prox_order):
            length = float(optimizer.param_groups[batch.group or 0]["lr"]) * self._factor(batch)
            for weight in weights:
                cast("Proximal", batch.penalty).prox_(weight, length)

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
        other.terms, other._held = (), {}
        other.batches = tuple(
            replace(batch, parameters=[standins[id(p)] for p in batch.parameters if id(p) in standins])
            for batch in self.batches
            if batch.penalty.is_elementwise
        )
        return other

    def _acting(self, *, constraints: bool = False) -> Iterator[tuple[Batch, list[torch.Tensor]]]:
        """Yield the penalties, or the constraints, that have weights to move at this step, with these weights."""
        for batch in self.batches:
            # torch's own decay leaves a parameter alone whose grad is None, and so does this.
            weights = [parameter for parameter in batch.parameters if parameter.grad is not None]
            if weights and batch.penalty.is_constraint == constraints:
                yield batch, weights

    def _check(self, optimizer: Optimizer) -> None:
        """Refuse to act on nothing and to act twice: groups may have got other parameters or a decay since ``attach``."""
        group_of = group_of_each(optimizer)
        held = {term.key: group_of[term.key] for term in self.terms if term.key in group_of}
        if held != self._held:
            check_still_held(self.terms, self._held, held)
            self._gather(group_of)
        guard.check_single(self.terms, optimizer, *_AT_STEP, but=self)

    def _gather(self, group_of: Mapping[int, int]) -> None:
        self.batches = batches(self.terms, group_of)
        self._held = {term.key: group_of[term.key] for term in self.terms if term.key in group_of}

    def _factor(self, batch: Batch) -> float:
        schedule = self.schedules.get(batch.penalty.kind)
        if schedule is None or self.clock is None:
            return 1.0
        return self.clock.factor(schedule, batch.group or 0)

    def _warn_of_rounding(self, weights: Sequence[torch.Tensor], length: Scale, batch: Batch) -> None:
        if not self._warned and batch.penalty.kind == "l2" and not isinstance(length, torch.Tensor):
            shrink = length * batch.penalty.strength
            if dtype := lost_to(weights, shrink):
                self._warned = True
                warn_of_rounding(dtype, shrink)


class _BeforeGradientStep(BeforeStep):
    """Acts at each evaluation of a closure: each makes a gradient of its own."""

    is_for_each_gradient = True
    owner: Attached

    def objective(self, optimizer: Optimizer, loss: Any) -> Any:
        """Return the whole objective, where the optimiser compares losses."""
        return self.owner.objective(optimizer, loss)
