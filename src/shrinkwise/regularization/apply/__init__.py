"""Binds a regularizer to a live model and optimiser.

Parameter groups for any torch optimiser, penalties as a term of the loss or at the optimiser's step, decoupled decay.
The only place that touches torch optimisers and parameters.
"""

from shrinkwise.regularization.apply.bound import Bound, Handle
from shrinkwise.regularization.apply.groups import param_groups
from shrinkwise.regularization.apply.hooks import count_steps, decay_decoupled
from shrinkwise.regularization.apply.regularizer import Regularizer
from shrinkwise.regularization.apply.rows import RowDecay, decay_rows
from shrinkwise.regularization.apply.schedule import check_schedule, schedule_decay

__all__ = [
    "Bound",
    "Handle",
    "Regularizer",
    "RowDecay",
    "check_schedule",
    "count_steps",
    "decay_decoupled",
    "decay_rows",
    "param_groups",
    "schedule_decay",
]
