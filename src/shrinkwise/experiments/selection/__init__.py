"""Ways to choose λ.

Each gets ``train_many(runs) -> records`` as an argument and gives a Choice; nothing here launches, stores or draws.
"""

from shrinkwise.experiments.selection.choice import Choice, Cost, CurvePoint, Seen, Step, TrainMany
from shrinkwise.experiments.selection.layers import LayerSensitivity, LayerStrength, VerifiedStep
from shrinkwise.experiments.selection.objective import Objective
from shrinkwise.experiments.selection.prior import prior, timescale_window
from shrinkwise.experiments.selection.search import search
from shrinkwise.experiments.selection.space import Space
from shrinkwise.experiments.selection.sweep import sweep

__all__ = [
    "Choice",
    "Cost",
    "CurvePoint",
    "LayerSensitivity",
    "LayerStrength",
    "Objective",
    "Seen",
    "Space",
    "Step",
    "TrainMany",
    "VerifiedStep",
    "prior",
    "search",
    "sweep",
    "timescale_window",
]
