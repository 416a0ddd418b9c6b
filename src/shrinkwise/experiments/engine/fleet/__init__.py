"""Trains a fleet of runs: many networks of one structure, together.

The same contract as the single loop, which it equals to rounding. Any module that torch.func can stack; chains of dense layers by
hand.
"""

from shrinkwise.experiments.engine.fleet.fleet import train_fleet, train_together
from shrinkwise.experiments.engine.fleet.stackable import needs

__all__ = ["needs", "train_fleet", "train_together"]
