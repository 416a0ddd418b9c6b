"""Trains one run, or a fleet of runs.

The single loop is exact and simple, the reference that the fleet is tested against; a short measurement chooses between the two.
The only place that knows the training step.
"""

from shrinkwise.experiments.engine.build import build_model, predict
from shrinkwise.experiments.engine.fleet import train_fleet
from shrinkwise.experiments.engine.ledger import failed
from shrinkwise.experiments.engine.metrics import metric_names
from shrinkwise.experiments.engine.optimizers import NamedOptimizer, decay_of
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.single import train_model, train_one

__all__ = [
    "NamedOptimizer",
    "Recipe",
    "build_model",
    "decay_of",
    "failed",
    "metric_names",
    "predict",
    "train_fleet",
    "train_model",
    "train_one",
]
