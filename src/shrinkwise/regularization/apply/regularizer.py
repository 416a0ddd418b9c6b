"""The penalty as a term of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from shrinkwise.regularization.penalties import L2, Penalty, check_strength
from shrinkwise.regularization.rules import ApplyTo, Placement, penalised, place


@dataclass(frozen=True)
class Regularizer:
    """Which penalties act, how strongly, and on what.

    Args:
        l2: Strength of L2, ``lam`` in the package's one unit: mean loss + (lam/2)·Σw².
        apply_to: ``weights`` for weight matrices and filters, ``all`` for everything that is trained.

    Raises:
        SettingError: ``l2`` is negative, NaN or infinite.

    >>> model = nn.Linear(3, 1)
    >>> bound = Regularizer(l2=0.1).bind(model)
    >>> abs(bound.value() - 0.05 * model.weight.square().sum().item()) < 1e-7
    True
    """

    l2: float = 0.0
    apply_to: ApplyTo = "weights"

    def __post_init__(self) -> None:
        check_strength(self.l2, "l2")

    def bind(self, model: nn.Module) -> Bound:
        """Find the parameters of a model that the penalties act on.

        Args:
            model: Any module. Parameters that are replaced later are not seen: bind after sharding or loading with ``assign``.

        Returns:
            The penalties on this model.

        Raises:
            SettingError: ``apply_to`` is unknown.
            ModelError: ``model`` is not a module.

        Warns:
            UnplacedParameterWarning: Under ``weights``, parameters of unknown kind stay free.
        """
        placements = penalised(place(model), self.apply_to)
        return Bound(L2(self.l2) if self.l2 else None, placements)


@dataclass(frozen=True)
class Bound:
    """A regularizer on one model.

    Attributes:
        l2: The penalty that acts; None where its strength is 0.
        placements: The parameters that it acts on, each once.
    """

    l2: Penalty | None
    placements: tuple[Placement, ...]

    def penalty(self) -> torch.Tensor:
        """Return the penalty as a 0-dim tensor to add to the mean loss, with its graph, in float32 or better.

        At strength 0 it is a constant 0 without a graph: the loss and every gradient stay as they are, to the last bit. Add it
        once per optimiser step, and before the loss is scaled for mixed precision.
        """
        if self.l2 is None or not self.placements:
            return torch.zeros(())
        values = [self.l2.value(placement.parameter) for placement in self.placements]
        return torch.stack([value.to(values[0].device) for value in values]).sum()

    @torch.no_grad()
    def value(self) -> float:
        """Return the penalty as a number to log, computed without a graph."""
        return self.penalty().item()
