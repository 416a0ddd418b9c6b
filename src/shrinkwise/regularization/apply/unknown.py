"""What is said of parameters of unknown kind."""

from __future__ import annotations

import warnings
from collections.abc import Container, Sequence

from shrinkwise.errors import ModelError, UnplacedParameterWarning
from shrinkwise.regularization.rules import Placement, unknown_left_free


def say_unknown(placements: Sequence[Placement], penalised: Container[int], *, strict: bool) -> None:
    """Warn of trained parameters of unknown kind that nothing penalises; the caller's caller is who is warned.

    Args:
        placements: From ``place``.
        penalised: Identities of the parameters that something penalises.
        strict: Raise instead.

    Raises:
        ModelError: There are some, and ``strict``.
    """
    unknown = [f"{placement.name} of {placement.module_type}" for placement in unknown_left_free(placements, penalised)]
    if not unknown:
        return
    fact = f"parameters of unknown kind stay free of the penalty: {', '.join(unknown)}"
    mend = (
        "give `inputs`, to have them judged by their use; or name each in the strengths, such as {'weights': 0.1, 'NAME': 0}; "
        "or use apply_to='all'"
    )
    if strict:
        raise ModelError(fact, "strict refuses them", mend)
    warnings.warn(f"{fact}. {mend[:1].upper()}{mend[1:]}.", UnplacedParameterWarning, stacklevel=3)
