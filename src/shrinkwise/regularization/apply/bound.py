"""A regularizer on one model: in the loss, at the optimiser's step, or as a number to log."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from typing import get_args

import torch
from torch import nn
from torch.optim import LBFGS, Optimizer

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.regularization.apply import guard
from shrinkwise.regularization.apply.attach import Attached, Form
from shrinkwise.regularization.apply.batch import Batch, Term, batches
from shrinkwise.regularization.apply.clock import Clock
from shrinkwise.regularization.apply.listing import listing
from shrinkwise.regularization.apply.optimizers import check_apart, check_held, counted, group_of_each, unwrapped
from shrinkwise.regularization.penalties import Proximal
from shrinkwise.regularization.rules import ApplyTo, Placement
from shrinkwise.regularization.strength.schedules import Schedule


class Handle:
    """Ends what was attached.

    >>> from shrinkwise.regularization.apply import Regularizer
    >>> model = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> handle = Regularizer(l2=0.1).bind(model).attach(optimizer)
    >>> handle.remove()
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def remove(self) -> None:
        """Take the hooks away; a second call does nothing."""
        self._stack.close()


class Bound:
    """A regularizer on one model.

    Use one of :meth:`penalty` and :meth:`attach`; :meth:`value` beside either. Printed, it lists what acts on which parameters,
    what is free, and what Hugging Face's Trainer and timm would do otherwise.

    Attributes:
        terms: Each penalty on each parameter; those on frozen parameters act once these are trained.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: tuple[Placement, ...],
        terms: tuple[Term, ...],
        schedules: Mapping[str, Schedule],
        apply_to: ApplyTo,
    ) -> None:
        self.terms = terms
        self._model, self._parameters, self._apply_to = weakref.ref(model), parameters, apply_to
        self._schedules = {kind: schedule for kind, schedule in schedules.items() if any(term.kind == kind for term in terms)}
        self._clocks: list[Clock] = []
        self._batches: tuple[tuple[Batch, Clock | None], ...] = tuple((batch, None) for batch in batches(terms))
        self._n_attached = 0
        self._in_loss = guard.watch(self, terms)
        self._has_been_asked = False

    def __str__(self) -> str:
        return listing(self.terms, self._parameters, self._apply_to)

    __repr__ = __str__

    @property
    def placements(self) -> tuple[Placement, ...]:
        """The parameters that something acts on, each once; frozen ones are left out until they are trained."""
        trained = (term.placement for term in self.terms if not term.placement.is_frozen)
        return tuple({id(placement.parameter): placement for placement in trained}.values())

    def penalty(self) -> torch.Tensor:
        """Return the penalty as a 0-dim tensor to add to the mean loss, with its graph, in float32 or better.

        Where nothing acts it is a constant 0 without a graph: the loss and every gradient stay as they are, to the last bit.

        Add it before the loss is scaled for mixed precision. With gradient accumulation over n batches, divide the whole by n, as
        ``((loss + bound.penalty()) / n).backward()``: it then counts once a step. Every replica of DistributedDataParallel adds it,
        since gradients are averaged. Gradient clipping sees its gradient, unlike that of :meth:`attach`.

        Raises:
            SettingError: The regularizer is attached to an optimiser already, has a constraint, which no gradient can express, or
                has a schedule and does not know the steps; or the model's parameters were replaced. At the optimiser's step, where
                something else penalises the same weights in the same kind: its own ``weight_decay``, what is attached to it, or
                another bound regularizer in the loss.
        """
        self._check_usable_in_a_loss()
        if torch.is_grad_enabled():
            if not torch.compiler.is_compiling():
                self._check_not_replaced()
            self._in_loss.is_asked = True
        return self._total(self._current())

    @torch.no_grad()
    def value(self) -> float:
        """Return the penalty as a number to log, at the strengths of the step that comes next, computed without a graph."""
        return self._total(self._current()).item()

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """Return the penalty of each kind as a number to log; they add up to :meth:`value`. Constraints have none."""
        found = self._current()
        kinds = dict.fromkeys(batch.penalty.kind for batch, _ in found)
        return {kind: self._total(tuple(pair for pair in found if pair[0].penalty.kind == kind)).item() for kind in kinds}

    def attach(self, *optimizers: Optimizer, form: Form = "coupled") -> Handle:
        """Let the penalties act at each step of an optimiser, without a graph and without a term in the loss.

        * ``coupled``: each penalty's gradient is added to ``grad`` before the step, in place; with L2, what ``weight_decay`` of SGD
          does. Under Adam the sum is rescaled with the rest.
        * ``decoupled``: before the optimiser's own step each weight takes a step of length ``lr`` on the penalty alone; with L2 it
          is decoupled decay, AdamW's. Several kinds act one after another.
        * ``proximal``: after the optimiser's step the penalty's proximal operator is applied with step ``lr``; sparse penalties
          then give exact zeros (proximal gradient descent; Parikh and Boyd, 2014, section 4.2).

        A constraint projects after each step, in every form. A parameter whose ``grad`` is None is left as it is; one whose
        gradient is zero is penalised. Hooks act after gradient clipping. With ``step(closure)`` they act on the gradients that
        the closure makes; the loss that ``step`` returns is the data loss, except for LBFGS, which compares losses and needs all.

        Call it once, after the optimiser is made and before ``load_state_dict``; a deep copy of an optimiser loses its hooks.

        Args:
            optimizers: One torch optimiser, wrapped by Accelerate or Lightning or not; or several that share the model.
            form: How penalties act.

        Returns:
            A handle whose ``remove()`` ends it.

        Raises:
            SettingError: A parameter would be penalised twice by one kind, some are in no optimiser, or the form does not fit. At a
                step, where ``coupled`` meets a sparse gradient.
            ModelError: There is no torch optimiser.
        """
        inner = [unwrapped(optimizer) for optimizer in optimizers]
        self._check_attachable(inner, form)
        stack = ExitStack()
        # All before the first hook: one that does not fit leaves none behind.
        attached = [Attached(self.terms, optimizer, form, self._schedules) for optimizer in inner]
        for one, optimizer in zip(attached, inner, strict=True):
            for handle in one.register(optimizer):
                stack.callback(handle.remove)
        if self._schedules:
            self._follow(inner)
        self._n_attached += 1
        stack.callback(self._detach)
        return Handle(stack)

    def follow(self, *optimizers: Optimizer) -> None:
        """Take the steps and learning rates of a schedule from an optimiser, for :meth:`penalty` and :meth:`value`.

        :meth:`attach` does so by itself. The steps are counted in the optimiser's groups, so its ``state_dict`` carries them.

        Raises:
            SettingError: Some penalised parameters are in no optimiser.
            ModelError: There is no torch optimiser.
        """
        inner = [unwrapped(optimizer) for optimizer in optimizers]
        check_held(self.placements, inner)
        self._follow(inner)

    def refresh(self) -> None:
        """Take the strengths of the step that comes next.

        Needed only where :meth:`penalty` is compiled and a schedule reads the learning rate: then after the scheduler's step.
        """
        for batch, clock in self._batches:
            schedule = self._schedules.get(batch.penalty.kind)
            if schedule is not None and clock is not None:
                batch.factor.fill_(clock.factor(schedule, batch.group or 0))

    def _follow(self, optimizers: list[Optimizer]) -> None:
        self._clocks = [Clock.of(optimizer) for optimizer in optimizers]
        found: list[tuple[Batch, Clock | None]] = []
        left = {id(placement.parameter) for placement in self.placements}
        for clock in self._clocks:
            # A parameter that several optimisers hold has one value, at the rate of the first.
            group_of = {key: group for key, group in group_of_each(clock.optimizer).items() if key in left}
            left -= group_of.keys()
            found += [(batch, clock) for batch in batches(self.terms, group_of)]
            clock.tell(self)
        self._batches = tuple(found)
        self.refresh()

    def _current(self) -> tuple[tuple[Batch, Clock | None], ...]:
        """Return the batches that have a value, with today's factors; a compiled caller reads those of the last refresh."""
        if self._schedules and not self._clocks:
            cause = "a schedule's strength depends on the optimiser's step"
            raise SettingError("this regularizer has a schedule", cause, "call bound.follow(optimizer) once, before training")
        if self._schedules and not torch.compiler.is_compiling():
            self.refresh()
        return tuple((batch, clock) for batch, clock in self._batches if not batch.penalty.is_constraint)

    def _total(self, found: tuple[tuple[Batch, Clock | None], ...]) -> torch.Tensor:
        total: torch.Tensor | None = None
        for batch, clock in found:
            value = batch.value() if clock is None else batch.value() * batch.factor
            total = value if total is None else total + value.to(total.device)
        return torch.zeros(()) if total is None else total

    def _check_usable_in_a_loss(self) -> None:
        if self._n_attached:
            cause = "the penalty acts at the optimiser's step already, and would act twice"
            raise SettingError("penalty() was asked of an attached regularizer", cause, "use value() to log, or leave attach() out")
        constraints = {term.kind for term in self.terms if term.penalty.is_constraint}
        if constraints:
            cause = "a constraint acts by projecting the weights after a step, not by a gradient"
            raise SettingError(f"penalty() was asked of {', '.join(constraints)}", cause, "use bound.attach(optimizer)")

    def _check_not_replaced(self) -> None:
        """Look for the parameters in the model at first, and again whenever a step passed that moved none of them."""
        model = self._model()
        if (self._has_been_asked and not self._in_loss.waiting) or model is None:
            return
        self._has_been_asked = True
        held = {id(parameter) for parameter in model.parameters()}
        # FSDP2 swaps whole parameters in while a forward pass runs; of those that were bound as shards nothing can be told.
        known = [term for term in self.terms if not hasattr(term.placement.parameter, "device_mesh")]
        if lost := [term.name for term in known if term.key not in held]:
            cause = (
                "they were replaced after bind(), as sharding and load_state_dict(assign=True) do, and the penalty acts on nothing"
            )
            raise SettingError(f"the model no longer holds {counted(lost)}", cause, "bind again, after that")

    def _check_attachable(self, optimizers: list[Optimizer], form: Form) -> None:
        if form not in get_args(Form):
            mend = did_you_mean(str(form), get_args(Form))
            raise SettingError(f"form is {form!r}", "there is no such way for a penalty to act", mend)
        if not optimizers:
            raise SettingError("attach() got no optimiser", "a penalty acts at an optimiser's step", "give the optimiser")
        check_held(self.placements, optimizers)
        check_apart(optimizers)
        if self.terms and self._in_loss.is_asked:
            cause = "penalty() of this bound regularizer stands in a loss, and it would act twice"
            raise SettingError("attach() was asked for beside penalty()", cause, "leave one out, or bind the regularizer anew")
        for optimizer in optimizers:
            if form != "coupled" and isinstance(optimizer, LBFGS):
                cause = "LBFGS searches along a line for the whole objective, beside which nothing can act"
                raise SettingError(f"form is {form!r} with LBFGS", cause, "use form='coupled'")
            if form != "coupled" and any("lr" not in group for group in optimizer.param_groups):
                raise SettingError(f"form is {form!r}", "its step has the length lr, which a group lacks", "use form='coupled'")
        if form == "proximal":
            without = {term.kind for term in self.terms if not isinstance(term.penalty, Proximal)}
            if without:
                raise SettingError(f"form is 'proximal' with {', '.join(without)}", "it has no such operator", "use form='coupled'")

    def _detach(self) -> None:
        self._n_attached -= 1
