"""What kind of shrink an optimiser's is: learned from short steps from w, from 2w, and under gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from shrinkwise.regularization.audit.measuring.trial import Trial, with_lr

_SHORT_LR = 1e-6
_SHORT_STEPS = 6
_MANY_STEPS = 40


@dataclass(frozen=True)
class Laws:
    """How the shrink of one parameter depends on what there is.

    Attributes:
        unrounded: Fraction that one step with zero gradient removes in float64, step hooks included; in the parameter's own dtype
            where the optimiser knows no float64.
        by_hooks: The part of it that hooks remove which are not ours.
        is_proportional: Whether a weight twice the size loses the same fraction, hooks aside.
        is_hook_proportional: Whether it loses the same fraction to those hooks.
        is_coupled: Whether the decay is a gradient: whether a gradient of −weight_decay·w undoes it. None where it does not act.
        is_idle: Whether the declared decay does nothing, neither along with a gradient nor over many steps.
        is_rescaling: Whether a gradient twice the size moves the weight by other than twice as much.
    """

    unrounded: float
    by_hooks: float = 0.0
    is_proportional: bool = True
    is_hook_proportional: bool = True
    is_coupled: bool | None = None
    is_idle: bool = False
    is_rescaling: bool = False


def laws_of(trial: Trial, blocks: dict[int, torch.Tensor]) -> dict[int, Laws]:
    """Learn the laws of each parameter.

    Args:
        trial: Steps copies of the optimiser.
        blocks: The values to start from, by the identity of the parameter.

    Raises:
        CannotRebuildError: The optimiser could not be made or stepped.
    """
    doubled = {key: 2 * block for key, block in blocks.items()}
    decays = {id(p): _signed_decay(group) for group in trial.groups for p in group["params"]}
    once = trial.shrinks(blocks)
    by_hooks, by_hooks_twice = _by_others_hooks(trial, blocks, once), _by_others_hooks(trial, doubled)
    # Some optimisers, such as RAdam, become adaptive only after a few steps.
    later, later_twice = _shortly(trial, blocks), _shortly(trial, doubled)
    pushed, pushed_twice = _shortly(trial, blocks, blocks), _shortly(trial, blocks, doubled)
    is_coupled = _coupled(trial, blocks, decays)
    idle = _idle(trial, blocks) if any(decays[key] and not later[key] for key in blocks) else {}
    return {
        key: Laws(
            unrounded=once[key],
            by_hooks=by_hooks[key],
            is_proportional=is_same_fraction(later[key], later_twice[key]),
            is_hook_proportional=is_same_fraction(by_hooks[key], by_hooks_twice[key]),
            is_coupled=is_coupled[key],
            is_idle=bool(decays[key]) and not later[key] and idle[key],
            is_rescaling=not is_same_fraction(2 * (pushed[key] - later[key]), pushed_twice[key] - later[key]),
        )
        for key in blocks
    }


def is_same_fraction(once: float, twice: float) -> bool:
    """Whether a weight and its double lose the same fraction; what does not act in proportion differs by a factor of about two.

    Of what is no number nothing is said against it.
    """
    return not abs(once - twice) > 0.2 * abs(once)


def _by_others_hooks(trial: Trial, blocks: dict[int, torch.Tensor], once: dict[int, float] | None = None) -> dict[int, float]:
    if len(trial.hooks("all")) == len(trial.hooks("ours")):
        return dict.fromkeys(blocks, 0.0)
    once, ours = once or trial.shrinks(blocks), trial.shrinks(blocks, hooks="ours")
    return {key: once[key] - ours[key] for key in blocks}


def _shortly(
    trial: Trial, blocks: dict[int, torch.Tensor], gradients: dict[int, torch.Tensor] | None = None, *, has_decay: bool = True
) -> dict[int, float]:
    """Take a few steps so short that no weight crosses zero, without hooks."""

    def short(options: dict[str, Any]) -> dict[str, Any]:
        changed = with_lr(options, _SHORT_LR)
        if options.get("weight_decay"):
            changed["weight_decay"] = abs(_signed_decay(options)) if has_decay else 0.0
        return changed

    return trial.shrinks(blocks, gradients=gradients, hooks="none", changes=short, n_steps=_SHORT_STEPS)


def _coupled(trial: Trial, blocks: dict[int, torch.Tensor], decays: dict[int, float]) -> dict[int, bool | None]:
    """Say whether a gradient of −weight_decay·w undoes a decay, and the step is one without any."""
    # Of few digits, so that weight_decay·w is exact and a coupled decay is undone to the last bit: Adam would blow up any rest.
    # Half as large again: at weights of 1, such as a norm's, the gradient of L1 is that of L2.
    rounded = {key: 1.5 * block.bfloat16().to(block.dtype) for key, block in blocks.items()}
    undoing = {key: block * -decays[key] for key, block in rounded.items()}
    whole, left, bare = _shortly(trial, rounded), _shortly(trial, rounded, undoing), _shortly(trial, rounded, has_decay=False)
    by_decay = {key: whole[key] - bare[key] for key in blocks}
    return {
        key: abs(left[key] - bare[key]) < 1e-6 * abs(by_decay[key]) if by_decay[key] and decays[key] else None for key in blocks
    }


def _idle(trial: Trial, blocks: dict[int, torch.Tensor]) -> dict[int, bool]:
    """Say whether a declared decay changes nothing, under a small gradient along the weight and over many steps."""
    gradients = {key: 1e-3 * block for key, block in blocks.items()}

    def without(options: dict[str, Any]) -> dict[str, Any]:
        return {"weight_decay": 0.0}

    declared = trial.shrinks(blocks, gradients=gradients, hooks="none", n_steps=_MANY_STEPS)
    free = trial.shrinks(blocks, gradients=gradients, hooks="none", n_steps=_MANY_STEPS, changes=without)
    return {key: declared[key] == free[key] for key in blocks}


def _signed_decay(group: dict[str, Any]) -> float:
    """Return the decay as a gradient is added to it, with as many digits as a float32 has."""
    decay = torch.tensor(float(group.get("weight_decay") or 0), dtype=torch.float32).item()
    return -decay if group.get("maximize") else decay
