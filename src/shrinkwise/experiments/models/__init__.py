"""Reference networks, and what a network looks like from outside.

The fully connected network of the demo, and the outline of any module for a drawing.
Knows nothing of data or training.
"""

from shrinkwise.experiments.models.mlp import MLP, MLPFactory
from shrinkwise.experiments.models.outline import outline

__all__ = ["MLP", "MLPFactory", "outline"]
