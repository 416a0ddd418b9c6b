"""What curvature says of single layers, as far as a report needs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerStrength:
    """What the evidence says of one weight matrix or filter.

    Attributes:
        name: Dotted name of the parameter.
        n: Number of its values.
        effective: Effective number of parameters, between 0 and ``n``; mean over seeds.
        lam: Strength that the evidence asks for, in the package's one unit; None for a layer that is left out.
        why_left_out: Why it is left out, such as ``scale-invariant``; empty where it is not.
    """

    name: str
    n: int
    effective: float
    lam: float | None
    why_left_out: str = ""


@dataclass(frozen=True)
class LayerSensitivity:
    """How the validation loss of the winner answers to the strength of one layer.

    Attributes:
        name: Dotted name of the parameter.
        slope: Derivative of the validation loss by log λ of this layer, mean over seeds: negative where more would help.
        error: Its standard error over seeds; NaN for one seed.
        n: Number of seeds.
        advice: What follows, in words, such as ``wants less``; ``no clear direction`` where ``|slope| < 2 error``.
    """

    name: str
    slope: float
    error: float
    n: int
    advice: str
