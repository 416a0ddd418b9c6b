"""Trains one run.

The single loop: exact and simple, the reference that every faster engine is tested against.
The only place that knows the training step.
"""

from shrinkwise.experiments.engine.build import build_model, predict
from shrinkwise.experiments.engine.ledger import failed
from shrinkwise.experiments.engine.metrics import metric_names
from shrinkwise.experiments.engine.optimizers import NamedOptimizer, decay_of
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.single import train_model, train_one

__all__ = ["NamedOptimizer", "Recipe", "build_model", "decay_of", "failed", "metric_names", "predict", "train_model", "train_one"]
