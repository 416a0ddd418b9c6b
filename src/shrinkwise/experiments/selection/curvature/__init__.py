"""What the curvature of a trained network says of its layers.

Strengths by the evidence, effective numbers of parameters, and where the validation loss would go if one layer were held more.
Needs the extra ``evidence``; reads networks and leaves them as they were.
"""

from shrinkwise.experiments.selection.curvature.evidence import averaged, layer_strengths, profile_of
from shrinkwise.experiments.selection.curvature.multiplier import multiplier_space, search_multiplier
from shrinkwise.experiments.selection.curvature.sensitivity import pooled, slopes
from shrinkwise.experiments.selection.curvature.verify import verify
from shrinkwise.experiments.selection.curvature.winner import look_at_layers, slopes_of_run

__all__ = [
    "averaged",
    "layer_strengths",
    "look_at_layers",
    "multiplier_space",
    "pooled",
    "profile_of",
    "search_multiplier",
    "slopes",
    "slopes_of_run",
    "verify",
]
