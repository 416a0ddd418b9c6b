"""One step of the optimiser's own arithmetic, on small tensors that stand for the parameters.

A stand-in has a parameter's number of dimensions, dtype and device and a few of its values, so that an optimiser which looks at
these treats it alike, and a device that the model fills has room for all of them.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.optim.optimizer as torch_optimizer
from torch import nn
from torch.optim import Optimizer

from shrinkwise.regularization.audit.arithmetic import local, removed, squared_norm
from shrinkwise.regularization.audit.attached import has_standin, on_standins
from shrinkwise.regularization.audit.groups import step_hooks
from shrinkwise.seeding import isolated_rng, torch_generator

_SIDE = 4
_TYPICAL_SIZE = 0.02
_TINY = 1e-15
_PROBE_STEPS = 6
_PROBE_LR = 1e-6


@dataclass(frozen=True)
class Measured:
    """What one step with zero gradient did to the stand-in of a parameter.

    Attributes:
        shrink: Fraction of the weight that it removed, step hooks of ours included.
        unrounded: The same in float64, where nothing is lost to rounding; equal to ``shrink`` where the optimiser knows no float64.
        by_hooks: The part of ``unrounded`` that hooks removed.
        is_proportional: Whether a weight twice the size lost the same fraction, hooks aside.
        is_hook_proportional: Whether it lost the same fraction to hooks.
        is_coupled: Whether the decay is a gradient: whether a gradient of −weight_decay·w undoes it. None without a decay.
    """

    shrink: float
    unrounded: float
    by_hooks: float
    is_proportional: bool
    is_hook_proportional: bool
    is_coupled: bool | None

    @property
    def is_lost(self) -> bool:
        """Whether rounding swallows most of what should be removed."""
        return abs(self.shrink) < abs(self.unrounded) / 2


class CannotRebuildError(Exception):
    """An optimiser of the same kind could not be made or stepped for stand-ins."""


def measure(optimizer: Optimizer, sparse: frozenset[int] = frozenset()) -> dict[int, Measured]:
    """Step an optimiser of the same class and options on stand-ins of its parameters, from an empty state.

    The optimiser, its parameters, their gradients and every random generator stay untouched. Its step hooks do not run, except
    those that can be put onto stand-ins: ours, and hooks with a method ``on_standins(mapping)`` that returns a hook for them.

    Args:
        optimizer: Any torch optimiser.
        sparse: Identities of parameters whose gradients are sparse.

    Returns:
        What happened, by the identity of the parameter. Parameters that are no floating-point numbers are left out.

    Raises:
        CannotRebuildError: The optimiser could not be rebuilt, or its step failed; the message says why.
    """
    real = {id(p): p for group in optimizer.param_groups for p in group["params"] if p.is_floating_point()}
    blocks = {key: _block(parameter) for key, parameter in real.items()}
    trial = _Trial(optimizer, real, sparse)
    shrink = trial.shrinks(blocks, with_hooks=True)
    try:
        exact = {key: (block.cpu() if block.device.type == "mps" else block).double() for key, block in blocks.items()}
        laws = _laws(trial, exact)
    except CannotRebuildError:
        # Some kernels know one dtype only.
        laws = _laws(trial, blocks)
    return {key: Measured(shrink=shrink[key], **laws[key]) for key in real}


def _laws(trial: _Trial, blocks: dict[int, torch.Tensor]) -> dict[int, dict[str, Any]]:
    """Learn what kind of shrink it is: from w, from 2w, with and without hooks, with the gradient that undoes a coupled decay."""
    doubled = {key: 2 * block for key, block in blocks.items()}
    # Of few digits, so that weight_decay·w is exact and a coupled decay is undone to the last bit: Adam would blow up any rest.
    round_ = {key: block.bfloat16().to(block.dtype) for key, block in blocks.items()}
    decays = {id(p): _signed_decay(group) for group in trial.groups for p in group["params"]}
    undoing = {key: block * -decays[key] for key, block in round_.items()}
    once, twice = trial.shrinks(blocks), trial.shrinks(doubled)
    hooked, hooked_twice = once, twice
    if trial.hooks():
        hooked, hooked_twice = trial.shrinks(blocks, with_hooks=True), trial.shrinks(doubled, with_hooks=True)
    # Some optimisers, such as RAdam, become adaptive only after a few steps.
    later, later_twice = trial.shrinks(blocks, is_probe=True), trial.shrinks(doubled, is_probe=True)
    left = trial.shrinks(round_, gradients=undoing, is_probe=True)
    return {
        key: {
            "unrounded": hooked[key],
            "by_hooks": hooked[key] - once[key],
            "is_proportional": is_same_fraction(later[key], later_twice[key]),
            "is_hook_proportional": is_same_fraction(hooked[key] - once[key], hooked_twice[key] - twice[key]),
            "is_coupled": abs(left[key]) < 1e-6 * abs(later[key]) if later[key] and decays[key] else None,
        }
        for key in blocks
    }


def _signed_decay(group: dict[str, Any]) -> float:
    """Return the decay as a gradient is added to it, with as many digits as a float32 has."""
    decay = torch.tensor(float(group.get("weight_decay") or 0), dtype=torch.float32).item()
    return -decay if group.get("maximize") else decay


def _probing(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a probe changes: steps so short that no weight crosses zero, a decay of few digits."""
    changed: dict[str, Any] = {}
    lr = options.get("lr")
    if lr is not None:
        changed["lr"] = torch.full_like(lr, _PROBE_LR) if isinstance(lr, torch.Tensor) else _PROBE_LR
    if isinstance(options.get("weight_decay"), float):
        changed["weight_decay"] = abs(_signed_decay(options))
    return changed


def is_same_fraction(once: float, twice: float) -> bool:
    """Whether a weight and its double lose the same fraction; what does not act in proportion differs by a factor of about two."""
    return abs(once - twice) <= 0.2 * abs(once)


@dataclass(frozen=True)
class _Trial:
    """Steps copies of one optimiser."""

    optimizer: Optimizer
    real: dict[int, nn.Parameter]
    sparse: frozenset[int]

    @property
    def groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def hooks(self) -> list[Any]:
        return [hook for hook in step_hooks(self.optimizer) if has_standin(hook)]

    def shrinks(
        self,
        blocks: dict[int, torch.Tensor],
        *,
        gradients: dict[int, torch.Tensor] | None = None,
        with_hooks: bool = False,
        is_probe: bool = False,
    ) -> dict[int, float]:
        """Return the fraction of each block that one step removes or, as a probe, a few short ones; gradients are zero or given."""
        standins = {key: self._standin(key, block, gradients) for key, block in blocks.items()}
        groups = [group for group in self._groups(standins, is_probe=is_probe) if group["params"]]
        if not groups:
            return {}
        try:
            with _undisturbed():
                optimizer = _like(self.optimizer, groups)
                if with_hooks:
                    self._register(optimizer, standins)
                for _ in range(_PROBE_STEPS if is_probe else 1):
                    step(optimizer)
        except Exception as error:
            raise CannotRebuildError(f"{type(error).__name__}: {error}") from error
        return {key: removed(block, standins[key]) / squared_norm(block) for key, block in blocks.items()}

    def _standin(self, key: int, block: torch.Tensor, gradients: dict[int, torch.Tensor] | None) -> nn.Parameter:
        real = self.real[key]
        standin = nn.Parameter(block.clone(), real.requires_grad)
        if real.requires_grad or real.grad is not None:
            grad = gradients[key].clone() if gradients else torch.zeros_like(standin)
            standin.grad = grad.to_sparse(1) if key in self.sparse else grad
        return standin

    def _groups(self, standins: dict[int, nn.Parameter], *, is_probe: bool) -> Iterator[dict[str, Any]]:
        for group in self.groups:
            options = copy.deepcopy({name: value for name, value in group.items() if name not in ("params", "param_names")})
            if is_probe:
                options |= _probing(options)
            yield {"params": [standins[id(p)] for p in group["params"] if id(p) in standins], **options}

    def _register(self, optimizer: Optimizer, standins: dict[int, nn.Parameter]) -> None:
        for hook in filter(has_standin, self.optimizer._optimizer_step_pre_hooks.values()):
            optimizer.register_step_pre_hook(on_standins(hook, standins))
        for hook in filter(has_standin, self.optimizer._optimizer_step_post_hooks.values()):
            optimizer.register_step_post_hook(on_standins(hook, standins))


def step(optimizer: Optimizer) -> None:
    """Step, with a closure that returns a loss of zero where the optimiser cannot do without."""
    parameters = inspect.signature(type(optimizer).step).parameters
    needs_closure = "closure" in parameters and parameters["closure"].default is inspect.Parameter.empty
    if needs_closure:
        optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type,return-value]
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
    """Make an optimiser of the same class by its constructor or, where that asks for more, as a copy with other groups."""
    known = inspect.signature(type(optimizer)).parameters
    options = {name: copy.deepcopy(value) for name, value in optimizer.defaults.items() if name in known}
    make: Any = type(optimizer)
    try:
        return make(groups, **options)  # type: ignore[no-any-return]
    except Exception:
        own = {name: value for name, value in vars(optimizer).items() if not _is_of_every_optimizer(name)}
        if any(_reaches(value) for value in own.values()):
            # A copy would share an inner optimiser or real tensors, and its step would move the real weights.
            raise
    twin: Optimizer = object.__new__(type(optimizer))
    hooks = {name: OrderedDict[int, Any]() for name in vars(optimizer) if name.startswith("_optimizer_")}
    twin.__dict__.update(copy.deepcopy(own), defaults=optimizer.defaults, state=defaultdict(dict), param_groups=groups, **hooks)
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


@torch.no_grad()
def _block(parameter: nn.Parameter) -> torch.Tensor:
    """Return a few values of a parameter, with its number of dimensions; of a typical size where it has none or next to zeros."""
    values = local(parameter)
    block = values[(slice(0, _SIDE),) * values.dim()]
    if not values.is_meta and block.numel() and bool(block.isfinite().all()) and bool((block.abs() > _TINY).any()):
        return block.clone(memory_format=torch.contiguous_format)
    device = torch.device("cpu") if values.is_meta else values.device
    drawn = torch.randn((_SIDE,) * values.dim(), generator=torch_generator("audit", "standin")) * _TYPICAL_SIZE
    return drawn.to(device, values.dtype)
