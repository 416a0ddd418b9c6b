"""Penalties that a loss adds to the data's part, told by how their gradients depend on the weights and not on the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from shrinkwise.errors import ShrinkwiseError
from shrinkwise.regularization.audit.action import Action
from shrinkwise.regularization.audit.measuring.apart import Loss, changed, gradients_apart, old_reparametrisations, point
from shrinkwise.regularization.audit.measuring.arithmetic import parts, squared_norm
from shrinkwise.regularization.rules.fold import listed
from shrinkwise.regularization.rules.snapshot import Snapshot

_POINTS = (1.0, 2.0, -1.0)


def terms_in_loss(
    model: nn.Module, loss: Loss, inputs: Any, kept: Snapshot, not_checked: list[str]
) -> dict[int, tuple[Action, ...]]:
    """Find what a loss does to each parameter beside the data's part.

    The loss is taken with the leaves at w, 2w and −w: a gradient in proportion to w is that of L2, one that keeps its size that of
    L1 or of a norm that is not squared, and one in proportion to w less something fixed that of L2-SP. Once more it is taken with
    other inputs: a gradient that changes then is no penalty's.

    Args:
        model: The model, unwrapped.
        loss: The loss that is minimised.
        inputs: What it takes beside the model.
        kept: Everything as it was, put back before each time.
        not_checked: Gets what could not be told.

    Returns:
        What acts, by the identity of the parameter; L2 with ``lam`` in the package's unit, mean loss + (lam/2)·Σw².

    Raises:
        SettingError: The loss raised an error, or gave something else than one number.
    """
    inside: set[int] = set()
    at = []
    for scale in _POINTS:
        kept.restore()
        at.append(gradients_apart(model, loss, inputs, scale, inside))
    kept.restore()
    names = {id(p): name for name, p in model.named_parameters()}
    parameters = {id(p): p for p in model.parameters()}
    acting = _acting(parameters, at)
    found = {key: _read(point(parameters[key]), *(other[key] for other in at)) for key in acting}
    others = _with_other_inputs(model, loss, inputs, kept) if acting else {}
    # Without other inputs only what fits a penalty to the last digit is told.
    data = {key for key, actions in found.items() if _depends_on_data(at[0][key], others, key, actions)}
    found |= _around_zero(parameters, found)
    for keys, what in (
        (data, "penalties on {}: the loss uses them together with the data outside every module's forward pass"),
        (inside - acting, "penalties within a module's forward pass: it makes a number of {} alone"),
    ):
        if keys:
            not_checked.append(what.format(listed([names[key] for key in names if key in keys])))
    if old := list(old_reparametrisations(model)):
        not_checked.append(
            f"penalties on {listed(old)}, made by an old form of weight_norm: nn.utils.parametrizations has one to see"
        )
    return {key: actions for key, actions in found.items() if key not in data}


def _around_zero(parameters: dict[int, nn.Parameter], found: dict[int, tuple[Action, ...]]) -> dict[int, tuple[Action, ...]]:
    """Return what is L2-SP and looks like L2: of a parameter that is zero, as the weights around which it is pulled then are."""
    strengths = {action.lam for actions in found.values() for action in actions if action.kind == "l2_sp"}
    return {
        key: (Action("l2_sp", "loss", actions[0].lam),)
        for key, actions in found.items()
        if len(actions) == 1 and actions[0].kind == "l2" and actions[0].lam in strengths and not parameters[key].any()
    }


def _acting(parameters: dict[int, nn.Parameter], at: Sequence[dict[int, torch.Tensor]]) -> set[int]:
    """Return the identities of the parameters whose gradient is more than the rounding of another's, as a direction's may be."""
    sizes = {
        key: float(parameters[key].detach().norm()) * max(float(other[key].norm()) for other in at)
        for key in at[0]
        if all(key in other for other in at)
    }
    largest = max(sizes.values(), default=0.0)
    return {
        key
        for key, size in sizes.items()
        if size > min(16 * torch.finfo(parameters[key].dtype).eps, 1e-2) * largest or (size == 0 and at[0][key].any())
    }


def _with_other_inputs(model: nn.Module, loss: Loss, inputs: Any, kept: Snapshot) -> dict[int, torch.Tensor] | None:
    """Return the gradients with other inputs, None where there can be none."""
    other = changed(inputs)
    if other is None:
        return None
    try:
        return gradients_apart(model, loss, other)
    except ShrinkwiseError:
        return None
    finally:
        kept.restore()


def _depends_on_data(gradient: torch.Tensor, others: dict[int, torch.Tensor] | None, key: int, actions: tuple[Action, ...]) -> bool:
    if others is None:
        return any(action.kind == "other" for action in actions)
    return key not in others or not bool((gradient - others[key]).norm() <= 1e-4 * gradient.norm())


def _read(weight: torch.Tensor, once: torch.Tensor, twice: torch.Tensor, mirrored: torch.Tensor) -> tuple[Action, ...]:
    """Tell from the gradients at w, 2w and −w what penalty they belong to."""
    tolerance = 1e-3 if weight.dtype in (torch.float32, torch.float64) else 3e-2
    weight, once, twice, mirrored = (tensor.detach().cpu().double() for tensor in (weight, once, twice, mirrored))
    size = float((once.square() + mirrored.square()).sum()) ** 0.5
    if float((once + mirrored).norm()) > tolerance * size:
        slope = _slope(weight, once, twice, mirrored, tolerance)
        return (Action("other", "loss", None),) if slope is None else (Action("l2_sp", "loss", slope),)
    for other in ("l1", "norm"):
        strengths, shares, residual = _fit(weight, once, twice, other)
        kinds = [triple for triple in zip(("l2", other), strengths, shares, strict=True) if triple[2] > tolerance]
        if residual <= tolerance and all(lam > 0 for _, lam, _ in kinds):
            return tuple(Action(kind, "loss", _rounded(lam)) for kind, lam, _ in kinds)
    return (Action("other", "loss", None),)


def _slope(weight: torch.Tensor, once: torch.Tensor, twice: torch.Tensor, mirrored: torch.Tensor, tolerance: float) -> float | None:
    """Return a, where the gradient at every w is a·(w − w₀) with one fixed w₀; None where it is not."""
    a = float(((once - mirrored) * weight).sum()) / (2 * squared_norm(weight))
    is_straight = all(
        float((difference - n * a * weight).norm()) <= tolerance * n * abs(a) * float(weight.norm())
        for n, difference in ((1, twice - once), (2, once - mirrored))
    )
    return _rounded(a) if is_straight and a > 0 else None


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


_Two = tuple[float, float]


def _fit(weight: torch.Tensor, once: torch.Tensor, twice: torch.Tensor, other: str) -> tuple[_Two, _Two, float]:
    """Fit a·w + b·s, where s is sign(w) or w/‖w‖, to the gradient at w, and 2a·w + b·s to that at 2w.

    Returns:
        (a, b), the norms of both parts and of what is left, each as a fraction of the gradients'.
    """
    norm = squared_norm(weight) ** 0.5
    gram, right, size = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), 0.0
    for w, g1, g2 in parts(weight, once, twice):
        s = w.sign() if other == "l1" else w / norm
        columns = torch.stack([torch.cat([w, 2 * w]), torch.cat([s, s])])
        target = torch.cat([g1, g2])
        gram += columns @ columns.T
        right += columns @ target
        size += float(target @ target)
    fitted = torch.linalg.solve(gram, right)
    a, b = fitted.tolist()
    share_a, share_b = (fitted.abs() * (gram.diag() / size).sqrt()).tolist()
    return (a, b), (share_a, share_b), (max(size - float(right @ fitted), 0.0) / size) ** 0.5
