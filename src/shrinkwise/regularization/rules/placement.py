"""What is known of one parameter of a model, and the choices of parameters that a penalty may act on."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.nn.parameter import UninitializedParameter

from shrinkwise.errors import ModelError, SettingError, did_you_mean
from shrinkwise.regularization.rules.roles import Role

ApplyTo = Literal["weights", "all", "timm", "huggingface", "nanogpt", "keras", "torch"]
"""A choice of parameters: the default, everything that is trained, or what another library chooses; see :func:`chosen`."""


@dataclass(frozen=True, eq=False, repr=False)
class Placement:
    """One parameter and what it is.

    Attributes:
        name: Dotted name in the model, without the prefixes of wrappers; of a tied parameter, the first one.
        parameter: The parameter itself.
        role: What it does.
        module_type: Class name of the module that holds it under ``name``.
        aliases: Its other names, where several modules hold it.
        why: Why it has this role, and that the model itself asks to leave it free, where it does.
        types: The type of the module that holds it, for each of its names, as that module's author wrote it.
        exempted_by: Dotted name of the outermost module whose ``no_weight_decay()`` names it, ``""`` for the model itself; None
            where none does.
        tensors: For each of its names, the name of the tensor that the module works with: ``0.weight`` for
            ``0.parametrizations.weight.original0``, and the name itself where nothing parametrises it.
        unit_dims: The dimensions that count units (outputs, filters) as it is stored: the first of most tensors; the second of
            transposed ones, such as those of ConvTranspose layers and of transformers' Conv1D; two where the matrices of several
            experts stand in one tensor. Where its use alone shows the role, the first is taken. A single number has none.
        parametrised_by: What makes the module's tensor from it, such as ``weight_norm``, so that it is not itself that tensor; None
            where it is, under a pruning mask or not.
    """

    name: str
    parameter: nn.Parameter
    role: Role
    module_type: str
    aliases: tuple[str, ...]
    why: str
    types: tuple[type[nn.Module], ...]
    exempted_by: str | None = None
    tensors: tuple[str, ...] = ()
    unit_dims: tuple[int, ...] = (0,)
    parametrised_by: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, the first one first."""
        return (self.name, *self.aliases)

    def __repr__(self) -> str:
        is_lazy = isinstance(self.parameter, UninitializedParameter)
        shape = "no shape yet" if is_lazy else "x".join(map(str, self.parameter.shape)) or "1"
        return f"Placement({self.name}, {shape}: {self.why}{', frozen' if self.is_frozen else ''})"

    @property
    def is_frozen(self) -> bool:
        """Whether it is not trained: nothing acts on it then."""
        return not self.parameter.requires_grad


def _weights(placement: Placement) -> bool:
    return placement.role in (Role.WEIGHT, Role.LORA) and placement.exempted_by is None


def _everything(placement: Placement) -> bool:
    return True


def _timm(placement: Placement) -> bool:
    is_free = placement.name.endswith(".bias") or placement.exempted_by == ""
    return not is_free and _n_dims(placement) > 1


def _huggingface(placement: Placement) -> bool:
    name = placement.name.lower()
    has_free_name = any(part in name for part in ("bias", "layernorm", "rmsnorm")) or any(
        part == "norm" or part.endswith("_norm") for part in name.split(".")
    )
    # Types are looked at in the children of the model, never in the model itself.
    return not has_free_name and not ("." in name and issubclass(placement.types[0], nn.LayerNorm))


def _nanogpt(placement: Placement) -> bool:
    return _n_dims(placement) >= 2


def _keras(placement: Placement) -> bool:
    own_name = placement.name.rpartition(".")[2]
    is_recurrent = issubclass(placement.types[0], nn.RNNBase | nn.RNNCellBase) and own_name.startswith("weight_hh")
    return placement.role in (Role.WEIGHT, Role.LORA) and not is_recurrent


_CHOICES: Mapping[str, Callable[[Placement], bool]] = {
    "weights": _weights,
    "all": _everything,
    "timm": _timm,
    "huggingface": _huggingface,
    "nanogpt": _nanogpt,
    "keras": _keras,
    "torch": _everything,
}


def chosen(placements: Sequence[Placement], apply_to: ApplyTo = "weights", *, frozen: bool = False) -> tuple[Placement, ...]:
    """Return the placements that a choice of parameters means, the trained ones or all.

    ======================  ==============================================================================================
    ``weights``             weight matrices, filters and LoRA factors, by role, less what a module's own ``no_weight_decay()`` names
    ``all``, ``torch``      everything that is trained: what an optimiser of torch decays that is given ``model.parameters()``
    ``timm``                two dimensions or more, unless the name ends in ``.bias`` or the model's ``no_weight_decay()`` has it
                            (``param_groups_weight_decay``)
    ``huggingface``         all but what is held by a ``LayerNorm`` of torch or has ``bias``, ``layernorm``, ``rmsnorm`` or a part
                            ``norm`` or ``..._norm`` in its name (``Trainer.get_decay_parameter_names``, transformers 5)
    ``nanogpt``             two dimensions or more (``configure_optimizers``)
    ``keras``               what ``kernel_regularizer`` reaches when every layer is given one: kernels and their LoRA factors, not
                            ``recurrent_kernel``. An optimiser of Keras with ``weight_decay`` decays everything: ``torch``.
    ======================  ==============================================================================================

    Args:
        placements: From :func:`place`.
        apply_to: The choice.
        frozen: Whether to return frozen ones too.

    Returns:
        A part of ``placements``, in the same order.

    Raises:
        SettingError: ``apply_to`` is no choice.
        ModelError: The choice counts dimensions, and a lazy module has not seen its input.
    """
    chooses = _CHOICES[_known(apply_to)]
    return tuple(placement for placement in placements if (frozen or not placement.is_frozen) and chooses(placement))


@dataclass(frozen=True)
class Disagreement:
    """A trained parameter that one choice penalises and another leaves free."""

    placement: Placement
    penalised_by: ApplyTo
    free_by: ApplyTo

    def __str__(self) -> str:
        return f"{self.placement.name} ({self.placement.why}): {self.penalised_by} penalises it, {self.free_by} does not"


def disagreements(placements: Sequence[Placement], one: ApplyTo, other: ApplyTo) -> tuple[Disagreement, ...]:
    """List the trained parameters on which two choices differ, in the order of ``placements``.

    Raises:
        SettingError: ``one`` or ``other`` is no choice.
        ModelError: As :func:`chosen`.

    >>> from shrinkwise.regularization.rules import place
    >>> print(*disagreements(place(nn.Embedding(3, 2)), "weights", "nanogpt"))
    weight (embedding of Embedding): nanogpt penalises it, weights does not
    """
    by_one = {id(placement) for placement in chosen(placements, one)}
    by_other = {id(placement) for placement in chosen(placements, other)}
    return tuple(
        Disagreement(placement, one, other) if id(placement) in by_one else Disagreement(placement, other, one)
        for placement in placements
        if id(placement) in by_one ^ by_other
    )


def unknown_left_free(placements: Sequence[Placement], penalised: Container[int]) -> tuple[Placement, ...]:
    """Return the trained placements of unknown kind on which nothing acts.

    Args:
        placements: From :func:`place`.
        penalised: Identities of the parameters on which something acts.
    """
    return tuple(p for p in placements if p.role is Role.UNKNOWN and not p.is_frozen and id(p.parameter) not in penalised)


def _known(apply_to: str) -> str:
    if apply_to not in get_args(ApplyTo):
        mend = did_you_mean(str(apply_to), get_args(ApplyTo))
        raise SettingError(f"apply_to is {apply_to!r}", "there is no such choice of parameters", mend)
    return apply_to


def _n_dims(placement: Placement) -> int:
    if not isinstance(placement.parameter, UninitializedParameter):
        return placement.parameter.dim()
    cause = "this choice of parameters counts dimensions, and a lazy module has none before its first input"
    raise ModelError(f"{placement.name} has no shape yet", cause, "run the model once, or use apply_to='weights'")
