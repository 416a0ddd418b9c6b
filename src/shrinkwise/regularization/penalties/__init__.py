"""The mathematics of penalties: value, gradient, prox, lam_max.

Knows tensors only: not who is penalised, not by which optimiser.
Every strength here is ``lam`` in the package's one unit.
"""

from shrinkwise.regularization.penalties.contract import Penalty, Proximal, Scale, Sparsifying, check_strength
from shrinkwise.regularization.penalties.elastic_net import ElasticNet
from shrinkwise.regularization.penalties.group_lasso import GroupLasso, Groups
from shrinkwise.regularization.penalties.l1 import L1
from shrinkwise.regularization.penalties.l2 import L2
from shrinkwise.regularization.penalties.l2_sp import L2SP, Reference
from shrinkwise.regularization.penalties.max_norm import MaxNorm

__all__ = [
    "L1",
    "L2",
    "L2SP",
    "ElasticNet",
    "GroupLasso",
    "Groups",
    "MaxNorm",
    "Penalty",
    "Proximal",
    "Reference",
    "Scale",
    "Sparsifying",
    "check_strength",
]
