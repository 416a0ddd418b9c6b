"""What curvature says of single layers, as lines of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shrinkwise.experiments.report.choosing.words import lam_text
from shrinkwise.experiments.report.formats import NOTHING, percent

if TYPE_CHECKING:
    from shrinkwise.experiments.selection.layers import LayerSensitivity, LayerStrength, VerifiedStep


@dataclass(frozen=True)
class StrengthLine:
    """One layer: name, number of values, effective number, the share that this is, λ or why it is left out, and the choice's λ."""

    name: str
    n: str
    effective: str
    share: str
    lam: str
    chosen: str


@dataclass(frozen=True)
class SensitivityLine:
    """One layer: its name, slope with its standard error, what follows, and what one step that way came to."""

    name: str
    slope: str
    advice: str
    verified: str


def strength_lines(layers: Sequence[LayerStrength]) -> tuple[StrengthLine, ...]:
    """Return a line a layer, and one for all where there are several."""
    lines = [_strength(each) for each in layers]
    counted = [each for each in layers if math.isfinite(each.effective)]
    if len(counted) > 1:
        n, effective = sum(each.n for each in counted), sum(each.effective for each in counted)
        lines.append(StrengthLine("all of these", f"{n:,}", _number(effective), _share(effective, n), "", ""))
    return tuple(lines)


def sensitivity_lines(sensitivities: Sequence[LayerSensitivity]) -> tuple[SensitivityLine, ...]:
    """Return a line a layer."""
    return tuple(
        SensitivityLine(each.name, _signed(each.slope) + _error(each.error), each.advice, _verified(each.verified))
        for each in sensitivities
    )


def _strength(layer: LayerStrength) -> StrengthLine:
    lam = layer.why_left_out or NOTHING if layer.lam is None else lam_text(layer.lam)
    chosen = "" if layer.chosen is None else lam_text(layer.chosen)
    return StrengthLine(layer.name, f"{layer.n:,}", _number(layer.effective), _share(layer.effective, layer.n), lam, chosen)


def _verified(step: VerifiedStep | None) -> str:
    """Say what one step came to.

    >>> from shrinkwise.experiments.selection.layers import VerifiedStep
    >>> _verified(VerifiedStep("a", 0.5, -0.0123, 0.002, 2))
    'half its λ: loss −0.012 ± 0.002'
    """
    if step is None:
        return ""
    what = "twice its λ" if step.factor > 1 else "half its λ"
    return f"{what}: loss {_signed(step.change)}{_error(step.error)}" if step.n else f"{what}: did not end well"


def _number(value: float) -> str:
    return f"{value:,.1f}" if math.isfinite(value) else NOTHING


def _share(effective: float, n: int) -> str:
    return percent(effective / n) if n and math.isfinite(effective) else NOTHING


def _error(error: float) -> str:
    return f" ± {error:.2g}" if math.isfinite(error) else ""


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−") if math.isfinite(value) else NOTHING
