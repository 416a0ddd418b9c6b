"""The parameters that one penalty acts on together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from shrinkwise.regularization.penalties import Penalty
from shrinkwise.regularization.rules import Placement


@dataclass(frozen=True, eq=False)
class Term:
    """One penalty on one parameter.

    Attributes:
        placement: The parameter, its name and role.
        penalty: What acts on it.
    """

    placement: Placement
    penalty: Penalty

    @property
    def kind(self) -> str:
        """The slot that the penalty fills."""
        return self.penalty.kind

    @property
    def name(self) -> str:
        """Name of the parameter."""
        return self.placement.name

    @property
    def key(self) -> int:
        """Identity of the parameter."""
        return id(self.placement.parameter)


@dataclass(frozen=True, eq=False)
class Batch:
    """Parameters that one penalty acts on in one pass: same penalty, same group of the optimiser.

    Attributes:
        penalty: What acts.
        parameters: On what, each once.
        group: Index of the optimiser's group that holds them; None before there is an optimiser.
        factor: 0-dim float32 tensor on their device: a schedule's factor at the step that comes next. A tensor, for a compiled
            loss would freeze a number, or be compiled anew for each.
    """

    penalty: Penalty
    parameters: Sequence[torch.Tensor]
    group: int | None
    factor: torch.Tensor

    def value(self) -> torch.Tensor:
        """Return the penalty of all parameters that are trained now, with its graph, at factor 1; of shards, the whole value."""
        values = [_whole(self.penalty.value(parameter)) for parameter in self.parameters if parameter.requires_grad]
        return torch.stack(values).sum() if values else self.factor.new_zeros(())


def batches(terms: Iterable[Term], group_of: Mapping[int, int] | None = None) -> tuple[Batch, ...]:
    """Gather terms into batches.

    Args:
        terms: In the model's order.
        group_of: Identity of a parameter -> index of its group; parameters that are missing are left out. None for no optimiser.
    """
    gathered: dict[tuple[Hashable, int | None, torch.device], tuple[Penalty, list[torch.Tensor]]] = {}
    for term in terms:
        parameter = term.placement.parameter
        if group_of is None or id(parameter) in group_of:
            group = None if group_of is None else group_of[id(parameter)]
            # Equal penalties act together; somebody's own that cannot be hashed is compared by identity.
            same = term.penalty if isinstance(term.penalty, Hashable) else id(term.penalty)
            key = (same, group, parameter.device)
            gathered.setdefault(key, (term.penalty, []))[1].append(parameter)
    return tuple(
        Batch(penalty, parameters, group, torch.ones((), device=device))
        for (_, group, device), (penalty, parameters) in gathered.items()
    )


def _whole(value: torch.Tensor) -> torch.Tensor:
    """Return the value over all shards, where the weight is a DTensor; each process then has the same."""
    gather = getattr(value, "full_tensor", None)
    return value if gather is None else gather()
