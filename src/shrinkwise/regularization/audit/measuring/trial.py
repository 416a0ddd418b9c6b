"""Copies of an optimiser, and steps of them on small tensors that stand for its parameters."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.optim.optimizer as torch_optimizer
from torch import nn
from torch.optim import Optimizer

from shrinkwise.regularization.apply.stephook import StepHook, hooks_of
from shrinkwise.regularization.audit.measuring.arithmetic import removed, squared_norm
from shrinkwise.regularization.audit.measuring.attached import has_standin, on_standins
from shrinkwise.seeding import isolated_rng

Hooks = Literal["all", "ours", "none"]
"""Which step hooks run: all that can be put onto stand-ins, those of Shrinkwise, or none."""

Change = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the entries of a group and returns those that are to be other."""


class CannotRebuildError(Exception):
    """An optimiser of the same kind could not be made or stepped for stand-ins."""


@dataclass(frozen=True)
class Trial:
    """Steps copies of one optimiser.

    Attributes:
        optimizer: The optimiser.
        real: Its parameters that have stand-ins, by their identity.
        sparse: Identities of those whose gradients are sparse.
    """

    optimizer: Optimizer
    real: dict[int, nn.Parameter]
    sparse: frozenset[int]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The groups of the real optimiser."""
        return self.optimizer.param_groups

    def hooks(self, which: Hooks) -> list[Any]:
        """Return the step hooks that would run."""
        hooks = [hook for hook in hooks_of(self.optimizer) if has_standin(hook) and which != "none"]
        return hooks if which == "all" else [hook for hook in hooks if isinstance(hook, StepHook)]

    def shrinks(
        self,
        blocks: dict[int, torch.Tensor],
        *,
        gradients: dict[int, torch.Tensor] | None = None,
        hooks: Hooks = "all",
        changes: Change = lambda options: {},
        n_steps: int = 1,
    ) -> dict[int, float]:
        """Return the fraction of each block that is gone after some steps.

        Args:
            blocks: The values to start from, by the identity of the parameter.
            gradients: Gradients of the same shapes; zero if left out.
            hooks: Which step hooks run.
            changes: Entries of groups to change.
            n_steps: How many steps.

        Raises:
            CannotRebuildError: The optimiser could not be made or stepped; the message says why.
        """
        try:
            return self._shrinks(blocks, gradients, hooks, changes, n_steps, with_closure=False)
        except Exception as error:  # noqa: BLE001  anything can go wrong in somebody's optimiser
            try:
                return self._shrinks(blocks, gradients, hooks, changes, n_steps, with_closure=True)
            except Exception:  # noqa: BLE001
                raise CannotRebuildError(repr(error)) from error

    def _shrinks(
        self,
        blocks: dict[int, torch.Tensor],
        gradients: dict[int, torch.Tensor] | None,
        hooks: Hooks,
        changes: Change,
        n_steps: int,
        *,
        with_closure: bool,
    ) -> dict[int, float]:
        standins = {key: self._standin(key, block) for key, block in blocks.items()}
        groups = [group for group in self._groups(standins, changes) if group["params"]]
        if not groups:
            return {}
        prepare = partial(self._give_gradients, standins, gradients)
        with _undisturbed():
            optimizer = _like(self.optimizer, groups)
            self._register(optimizer, standins, hooks)
            for _ in range(n_steps):
                prepare()
                step(optimizer, prepare, with_closure=with_closure)
        return {key: removed(block, standins[key]) / squared_norm(block) for key, block in blocks.items()}

    def _standin(self, key: int, block: torch.Tensor) -> nn.Parameter:
        return nn.Parameter(block.clone(), self.real[key].requires_grad)

    def _give_gradients(self, standins: dict[int, nn.Parameter], gradients: dict[int, torch.Tensor] | None) -> None:
        for key, standin in standins.items():
            real = self.real[key]
            if real.requires_grad or real.grad is not None:
                grad = gradients[key].clone() if gradients else torch.zeros_like(standin)
                standin.grad = grad.to_sparse(1) if key in self.sparse else grad

    def _groups(self, standins: dict[int, nn.Parameter], changes: Change) -> Iterator[dict[str, Any]]:
        for group in self.groups:
            options = copy.deepcopy({name: value for name, value in group.items() if name not in ("params", "param_names")})
            if options.get("differentiable"):
                # The same arithmetic; a step with a graph would need parameters that are none.
                options["differentiable"] = False
            yield {"params": [standins[id(p)] for p in group["params"] if id(p) in standins], **options, **changes(group)}

    def _register(self, optimizer: Optimizer, standins: dict[int, nn.Parameter], which: Hooks) -> None:
        hooks = self.hooks(which)
        for hook in getattr(self.optimizer, "_optimizer_step_pre_hooks", {}).values():
            if any(hook is known for known in hooks):
                optimizer.register_step_pre_hook(on_standins(hook, standins))
        for hook in getattr(self.optimizer, "_optimizer_step_post_hooks", {}).values():
            if any(hook is known for known in hooks):
                optimizer.register_step_post_hook(on_standins(hook, standins))


def step(optimizer: Optimizer, prepare: Callable[[], None], *, with_closure: bool = False) -> None:
    """Step, with a closure that makes the gradients and returns a loss of zero where the optimiser cannot do without, or is to.

    Args:
        optimizer: The optimiser; its gradients are made.
        prepare: Makes the gradients anew.
        with_closure: Whether a closure is given though the signature asks for none.
    """

    def closure() -> torch.Tensor:
        prepare()
        return torch.zeros(())

    parameters = inspect.signature(type(optimizer).step).parameters
    needs_closure = "closure" in parameters and parameters["closure"].default is inspect.Parameter.empty
    if needs_closure or with_closure:
        optimizer.step(closure)  # type: ignore[arg-type]
    else:
        optimizer.step()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep back hooks that somebody put onto every optimiser, and warnings that the real optimiser gave when it was made."""
    everywhere: tuple[dict[int, Any], ...] = (
        torch_optimizer._global_optimizer_pre_hooks,
        torch_optimizer._global_optimizer_post_hooks,
    )
    kept = [dict(hooks) for hooks in everywhere]
    for hooks in everywhere:
        hooks.clear()
    try:
        with isolated_rng("audit", "step"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for hooks, before in zip(everywhere, kept, strict=True):
            hooks.update(before)


def _like(optimizer: Optimizer, groups: list[dict[str, Any]]) -> Optimizer:
    """Make an optimiser of the same class by its constructor or, where that asks for more, as a copy with other groups.

    Options that the real one keeps on itself, as plain values, are copied: the constructor may have filled in its defaults.
    """
    known = inspect.signature(type(optimizer)).parameters
    options = {name: copy.deepcopy(value) for name, value in optimizer.defaults.items() if name in known}
    own = {name: value for name, value in vars(optimizer).items() if not _is_of_every_optimizer(name)}
    make: Any = type(optimizer)
    try:
        twin: Optimizer = make(groups, **options | ({"differentiable": False} if "differentiable" in options else {}))
    except Exception:
        if any(_reaches(value) for value in own.values()):
            # A copy would share an inner optimiser or real tensors, and its step would move the real weights.
            raise
        twin = object.__new__(type(optimizer))
        hooks = {name: OrderedDict[int, Any]() for name in vars(optimizer) if name.startswith("_optimizer_")}
        twin.__dict__.update(defaults=optimizer.defaults, state=defaultdict(dict), param_groups=groups, **hooks)
    twin.__dict__.update(copy.deepcopy({name: value for name, value in own.items() if not _reaches(value)}))
    return twin


def _is_of_every_optimizer(name: str) -> bool:
    return name in ("defaults", "state", "param_groups", "step") or name.startswith("_optimizer_")


def _reaches(value: Any) -> bool:
    """Whether a value leads to something that a step could change for real."""
    if isinstance(value, dict):
        return any(map(_reaches, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(_reaches, value))
    return not (value is None or isinstance(value, bool | int | float | complex | str | torch.dtype | torch.device | type))


def with_lr(options: dict[str, Any], lr: Any) -> dict[str, Any]:
    """Return the entry of a group that sets its learning rate, as a tensor where it was one."""
    now = options.get("lr")
    if now is None or lr is None:
        return {}
    return {"lr": torch.full_like(now, float(lr)) if isinstance(now, torch.Tensor) else float(lr)}
