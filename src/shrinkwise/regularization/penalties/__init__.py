"""The mathematics of penalties: value, gradient, prox.

Knows tensors only: not who is penalised, not by which optimiser.
Every strength here is ``lam`` in the package's one unit.
"""

from shrinkwise.regularization.penalties.contract import Penalty, Proximal, Scale, Sparsifying, check_strength
from shrinkwise.regularization.penalties.l2 import L2

__all__ = ["L2", "Penalty", "Proximal", "Scale", "Sparsifying", "check_strength"]
