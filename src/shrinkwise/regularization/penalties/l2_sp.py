"""L2-SP, the penalty on the distance from given weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import dropwhile
from typing import ClassVar, Self

import torch

from shrinkwise.errors import SettingError
from shrinkwise.regularization.penalties.arithmetic import accumulator, add_scaled_, sum_of_squares, widened
from shrinkwise.regularization.penalties.contract import Penalty, Scale, check_strength

Reference = torch.Tensor | Mapping[str, torch.Tensor] | None
"""Weights to stay near: one tensor, a ``state_dict``, or None for the weights as they are when the penalty is bound."""


@dataclass(frozen=True, eq=False)
class L2SP(Penalty):
    """Half the squared distance from a reference w⁰: ``value = (lam/2)·Σ(w − w⁰)²``, so the gradient is ``lam·(w − w⁰)``.

    Source: L2-SP of Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
    ICML 2018, where w⁰ are the pretrained weights. A reference of zeros gives L2.

    A reference for a whole model is bound to one weight by :meth:`at`, which copies it: from then on the memory is one copy of each
    penalised weight, in the reference's dtype. At strength 0 nothing is computed or copied.

    Args:
        lam: Strength, 0 or above, in the package's one unit.
        reference: The weights w⁰: one tensor of the weight's shape; a mapping from parameters' names to tensors, such as a
            ``state_dict``; or None for the weights as they are when ``at`` is called. Under None a resumed training would stay
            near the weights that it resumes from: give the pretrained ones then.

    Raises:
        SettingError: ``lam`` is negative, NaN or infinite, or ``reference`` is none of these.

    >>> model = torch.nn.Linear(2, 1)
    >>> penalty = L2SP(0.5, {"weight": torch.tensor([[1.0, 2.0]])}).at("module.weight", model.weight)
    >>> penalty.value(torch.tensor([[1.0, 4.0]])).item()
    1.0
    """

    lam: float
    reference: Reference = field(default=None, repr=False)
    _is_copy: bool = field(default=False, repr=False, kw_only=True)
    kind: ClassVar[str] = "l2_sp"
    prox_order: ClassVar[int] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", check_strength(self.lam, "lam"))
        _check_kind(self.reference)

    @property
    def strength(self) -> float:
        """``lam``."""
        return self.lam

    @torch.no_grad()
    def at(self, name: str, weight: torch.Tensor, unit_dims: tuple[int, ...] = (0,)) -> Self:
        """Return the penalty with a copy of the one reference that belongs to a parameter.

        The prefixes that DistributedDataParallel and torch.compile put before names (``module.``, ``_orig_mod.``) make no
        difference. The copy stays as it is where the weight, or the model that the reference is of, trains on. A plain tensor for a
        DTensor is distributed as the weight is, which all ranks must do together.

        Args:
            name: Name of the parameter in its model.
            weight: The parameter.
            unit_dims: Makes no difference.

        Raises:
            SettingError: The reference has no such name, another shape, or complex numbers for a real weight.
        """
        if self.reference is None:
            found = weight
        elif isinstance(self.reference, torch.Tensor):
            found = self.reference
        else:
            found = self.reference[self._key(self.reference, name)]
        _check(found, weight, f" of {name!r}")
        if not self.lam:
            return self
        return replace(self, reference=_beside(found, weight, copy=not self._is_copy), _is_copy=True)

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ``(lam/2)·Σ(w − w⁰)²`` as a 0-dim tensor, in float32 or better; at strength 0 a constant without a graph.

        Raises:
            SettingError: The penalty has no single reference, or one of another shape.
        """
        if self.lam == 0:
            return torch.zeros((), dtype=accumulator(weight), device=weight.device)
        reference = self._reference_for(weight)
        return sum_of_squares(widened(weight) - reference) * (self.lam / 2)

    @torch.no_grad()
    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor, scale: Scale = 1.0) -> None:
        """Add ``scale·lam·(w − w⁰)`` to ``grad`` in place, without a graph; the difference is held for a moment.

        Raises:
            SettingError: The penalty has no single reference, or one of another shape.
        """
        if self.lam:
            add_scaled_([grad], [weight - self._reference_for(weight)], self.lam, scale)

    @torch.no_grad()
    def prox_(self, weight: torch.Tensor, step: float) -> None:
        """Move ``weight`` in place by the share ``step·lam/(1 + step·lam)`` of its way to the reference.

        Args:
            weight: Tensor of the reference's shape.
            step: Step length, 0 or above; 0 leaves the weight as it is.

        Raises:
            SettingError: ``step`` is negative, NaN or infinite, or the penalty has no single reference, or one of another shape.
        """
        pull = check_strength(step, "step") * self.lam
        if pull:
            weight.add_(self._reference_for(weight) - weight, alpha=pull / (1 + pull))

    def _reference_for(self, weight: torch.Tensor) -> torch.Tensor:
        if not isinstance(self.reference, torch.Tensor):
            got = "None, the weights at binding" if self.reference is None else "a mapping of names"
            cause = "which tensor belongs to this weight is known only once it is bound"
            mend = "call at(name, weight), or bind a Regularizer to the model"
            raise SettingError(f"the reference of L2SP is {got}", cause, mend)
        _check(self.reference, weight, "")
        if self.reference.device != weight.device:
            # A trainer moved the model after it was bound; the reference follows once, and not at every step.
            object.__setattr__(self, "reference", self.reference.to(weight.device))
        return self.reference.detach()

    def _key(self, reference: Mapping[str, torch.Tensor], name: str) -> str:
        """Return the reference's own name for a parameter."""
        if name in reference:
            return name
        key = self._keys.get(_plain_name(name))
        if key is None:
            if not reference:
                cause = "it names no weights at all"
                raise SettingError(
                    f"the reference of L2SP has no weight {name!r}", cause, "give the state_dict of the pretrained model"
                )
            cause = f"it names {len(reference)} others; adapters and new layers have no pretrained weight"
            mend = f'leave it out by a key, as in {{"weights": lam, "{name}": 0}}'
            if nearest := difflib.get_close_matches(name, reference, n=1, cutoff=0.8):
                mend += f"; or did you mean {nearest[0]!r}?"
            raise SettingError(f"the reference of L2SP has no weight {name!r}", cause, mend)
        return key

    @cached_property
    def _keys(self) -> dict[str, str]:
        """Plain name -> name in the reference, made once for all weights of a model."""
        return {_plain_name(key): key for key in self.reference} if isinstance(self.reference, Mapping) else {}


def _check_kind(reference: object) -> None:
    if reference is not None and not isinstance(reference, torch.Tensor | Mapping):
        cause = "L2SP stays near a tensor, or near the tensors of a state_dict"
        raise SettingError(f"reference is a {type(reference).__name__}", cause, "give model.state_dict(), a tensor or None")


def _check(reference: object, weight: torch.Tensor, of: str) -> None:
    if not isinstance(reference, torch.Tensor):
        got = type(reference).__name__
        raise SettingError(f"the reference{of} is a {got}", "L2SP subtracts a tensor from each weight", "give a tensor")
    if reference.shape != weight.shape:
        cause = f"the weight has shape {tuple(weight.shape)}"
        mend = "give a reference of that shape, or put L2 on this weight instead"
        raise SettingError(f"the reference{of} has shape {tuple(reference.shape)}", cause, mend)
    if reference.is_complex() and not weight.is_complex():
        raise SettingError(f"the reference{of} is complex", "the weight is real", "give a real reference, such as its .real")


def _beside(reference: torch.Tensor, weight: torch.Tensor, *, copy: bool) -> torch.Tensor:
    """Return the reference on the weight's device, and sharded as the weight is; as a tensor of its own where ``copy``."""
    # Before it is distributed: torch may broadcast into the tensor that it is given.
    reference = reference.detach().to(weight.device, copy=copy)
    if hasattr(weight, "device_mesh"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        if isinstance(weight, DTensor) and not isinstance(reference, DTensor):
            return distribute_tensor(reference, weight.device_mesh, weight.placements)
    return reference


def _plain_name(name: str) -> str:
    """Return a parameter's name without what wrappers add.

    >>> _plain_name("module._orig_mod.layers.0._orig_mod.weight")
    'layers.0.weight'
    """
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    return ".".join(dropwhile(lambda part: part == "module", parts))
