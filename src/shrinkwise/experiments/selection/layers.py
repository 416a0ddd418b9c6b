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
        lam: Strength that the evidence asks for; None for a layer that is left out. Curvature gives it in the package's one unit,
            the report of a choice has it in the user's.
        why_left_out: Why it is left out, such as ``scale-invariant``; empty where it is not.
        chosen: Strength that the choice gives it, in the user's unit; None where the choice is one λ for all layers.
    """

    name: str
    n: int
    effective: float
    lam: float | None
    why_left_out: str = ""
    chosen: float | None = None


@dataclass(frozen=True)
class VerifiedStep:
    """What one step along the advice came to.

    Attributes:
        name: Dotted name of the parameter.
        factor: What its strength was multiplied by: 2, or a half.
        change: Mean change of the validation loss, paired by seed: negative where the step helped. NaN where no run was done.
        error: Its standard error over seeds; NaN for one seed.
        n: Number of seeds of which both runs were done.
    """

    name: str
    factor: float
    change: float
    error: float
    n: int

    @property
    def is_borne_out(self) -> bool:
        """Whether the loss went the way that was advised."""
        return self.change < 0


@dataclass(frozen=True)
class LayerSensitivity:
    """How the validation loss of the winner answers to the strength of one layer.

    Attributes:
        name: Dotted name of the parameter.
        slope: Derivative of the validation loss by log λ of this layer, mean over seeds: negative where more would help.
        error: Its standard error over seeds; NaN for one seed.
        n: Number of seeds.
        advice: What follows, in words, such as ``wants less``; ``no clear direction`` where ``|slope| < 2 error``.
        verified: What one step along it came to, where it was taken.
    """

    name: str
    slope: float
    error: float
    n: int
    advice: str
    verified: VerifiedStep | None = None
