"""Who is penalised, and why.

Decides the role of each parameter by the type of its module, never by its name alone.
The only place that decides.
"""

from shrinkwise.regularization.rules.keys import Key, assign
from shrinkwise.regularization.rules.placement import (
    ApplyTo,
    Disagreement,
    Placement,
    chosen,
    disagreements,
    unknown_left_free,
)
from shrinkwise.regularization.rules.placing import place
from shrinkwise.regularization.rules.roles import Role

__all__ = [
    "ApplyTo",
    "Disagreement",
    "Key",
    "Placement",
    "Role",
    "assign",
    "chosen",
    "disagreements",
    "place",
    "unknown_left_free",
]
