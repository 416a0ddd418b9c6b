"""Hooks around an optimiser's step: once a step, whoever calls whom, and after the closure where the step gets one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from shrinkwise.regularization.apply.batch import Term

Act = Callable[[Optimizer], None]
_STEP = Optimizer.profile_hook_step(lambda self: None).__code__


class Owner(Protocol):
    """What a step hook belongs to.

    Attributes:
        terms: The penalties that it lets act; none for what only counts.
        acts_on_weights: Whether a step is another one with it than without.
    """

    terms: tuple[Term, ...]
    acts_on_weights: ClassVar[bool]


@runtime_checkable
class Transferable(Protocol):
    """An owner that can act on other tensors, for an audit."""

    def on_standins(self, standins: Mapping[int, torch.Tensor]) -> Any:
        """Return a copy that acts on other tensors, by the identity of the parameter that each stands for."""
        ...


class StepHook:
    """A hook before or after an optimiser's step.

    A subclass's ``step`` that calls ``super().step()`` runs torch's hooks twice; this one acts at the outer step alone.

    Attributes:
        owner: What it belongs to.
        act: What it does; it gets the optimiser.
    """

    def __init__(self, owner: Owner, act: Act) -> None:
        self.owner, self.act = owner, act
        # Never compiled: what it reads changes at every step, and torch's own wrapper of step breaks the graph around hooks anyway.
        self._meet: Callable[..., Any] = torch.compiler.disable(self.meet)

    def __call__(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Meet a step, as torch calls it."""
        return self._meet(optimizer, args, kwargs)

    def meet(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Act, unless a step within a step is met."""
        if not _is_nested(optimizer):
            self.act(optimizer)

    def on_standins(self, standins: Mapping[int, torch.Tensor]) -> Any:
        """Return the hook of an owner that acts on other tensors."""
        assert isinstance(self.owner, Transferable)
        owner = self.owner.on_standins(standins)
        return type(self)(owner, getattr(owner, self.act.__name__))


class BeforeStep(StepHook):
    """A hook before the step; where the step gets a closure, after the closure, whose gradients exist only then.

    An optimiser that calls its closure several times in a step is met at the first, unless what acts belongs to the gradients.
    """

    is_for_each_gradient = False

    def meet(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Act, or see to it that the closure does."""
        if _is_nested(optimizer):
            return None
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._wrapped(optimizer, kwargs["closure"])}
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._wrapped(optimizer, args[1]), *args[2:]), kwargs
        return self.act(optimizer)

    def objective(self, optimizer: Optimizer, loss: Any) -> Any:
        """Return what the closure is to tell the optimiser in place of its loss."""
        return loss

    def _wrapped(self, optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
        is_first = True

        def with_penalty() -> Any:
            nonlocal is_first
            loss = closure()
            if is_first or self.is_for_each_gradient:
                self.act(optimizer)
            is_first = False
            return self.objective(optimizer, loss)

        return with_penalty


class AfterStep(StepHook):
    """A hook after the step."""


def register(optimizer: Optimizer, hook: BeforeStep | AfterStep) -> RemovableHandle:
    """Add a hook to an optimiser, on the side of the step that it is for."""
    if isinstance(hook, BeforeStep):
        return optimizer.register_step_pre_hook(hook)
    return optimizer.register_step_post_hook(hook)


def owners_at(optimizer: Optimizer) -> Iterator[Owner]:
    """Yield what of ours acts or counts at an optimiser's step, each once."""
    yield from {id(hook.owner): hook.owner for hook in hooks_of(optimizer) if isinstance(hook, StepHook)}.values()


def hooks_of(optimizer: Optimizer) -> list[Any]:
    """Return an optimiser's step hooks, those before the step first; a wrapper that never became an Optimizer has none."""
    sides = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    return [hook for side in sides for hook in getattr(optimizer, side, {}).values()]


def _is_nested(optimizer: Optimizer) -> bool:
    """Whether the running step was called by another step of the same optimiser.

    Read off the stack and not counted: a step that ended in an exception would leave a count behind.
    """
    n_steps = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _STEP and frame.f_locals.get("self") is optimizer:
            n_steps += 1
        frame = frame.f_back
    return n_steps > 1
