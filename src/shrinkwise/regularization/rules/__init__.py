"""Who is penalised, and why.

Decides the role of each parameter by the type of its module, never by its name alone.
The only place that decides.
"""

from shrinkwise.regularization.rules.placement import ApplyTo, Placement, penalised, place
from shrinkwise.regularization.rules.roles import Role

__all__ = ["ApplyTo", "Placement", "Role", "penalised", "place"]
