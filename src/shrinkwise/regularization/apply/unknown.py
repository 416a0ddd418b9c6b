"""What is said of parameters of unknown kind."""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from shrinkwise.errors import ModelError, SettingError, UnplacedParameterWarning
from shrinkwise.regularization.apply.optimizers import counted
from shrinkwise.regularization.rules import ApplyTo, Placement, unknown_left_free

_BY_ROLE = ("weights", "keras")


def say_unknown(
    placements: Sequence[Placement], penalised: Container[int], asked: Iterable[Any], *, apply_to: ApplyTo, strict: bool
) -> bool:
    """Warn of trained parameters of unknown kind that nothing penalises; the caller's caller is who is warned.

    Only where somebody asked for all weights, by a bare strength or by the key of a choice: who names a layer means that layer.

    Args:
        placements: From ``place``.
        penalised: Identities of the parameters that something decides for.
        asked: What was asked for: strengths, or mappings from keys to them.
        apply_to: What a bare strength means.
        strict: Raise instead.

    Returns:
        Whether there was something to say.

    Raises:
        ModelError: There are some, and ``strict``.
        SettingError: ``strict`` beside a choice that looks at no kind.
    """
    if strict and apply_to not in (*_BY_ROLE, "all"):
        cause = "that choice goes by shapes or names, and no parameter is of unknown kind to it"
        raise SettingError(f"strict beside apply_to={apply_to!r}", cause, "leave strict out, or use apply_to='weights'")
    if apply_to not in _BY_ROLE or not any(_means_all_weights(slot) for slot in asked):
        return False
    unknown = [f"{placement.name} of {placement.module_type}" for placement in unknown_left_free(placements, penalised)]
    if not unknown:
        return False
    fact = f"of unknown kind, and so free of the penalty: {counted(unknown)}"
    mend = (
        "give `inputs`, to have them judged by their use; or name each in the strengths, such as {'weights': 0.1, 'NAME': 0}; "
        "or use apply_to='all'"
    )
    if strict:
        raise ModelError(fact, "strict refuses them", mend)
    warnings.warn(f"{fact}. {mend[:1].upper()}{mend[1:]}.", UnplacedParameterWarning, stacklevel=3)
    return True


def _means_all_weights(slot: Any) -> bool:
    if isinstance(slot, Mapping):
        return any(isinstance(key, str) and key in _BY_ROLE and bool(entry) for key, entry in slot.items())
    return bool(slot)
