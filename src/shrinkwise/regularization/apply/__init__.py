"""Binds a regularizer to a live model and optimiser.

Parameter groups for any torch optimiser, and the penalty as a term of the loss.
The only place that touches torch optimisers and parameters.
"""

from shrinkwise.regularization.apply.groups import param_groups
from shrinkwise.regularization.apply.hooks import count_steps, decay_decoupled
from shrinkwise.regularization.apply.regularizer import Bound, Regularizer

__all__ = ["Bound", "Regularizer", "count_steps", "decay_decoupled", "param_groups"]
