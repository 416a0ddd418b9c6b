"""Estimates, comparisons and verdicts.

NumPy and SciPy only, no torch: numbers by variant and seed in, statements out.
Every random draw takes a Generator.
"""

from shrinkwise.experiments.stats.answer import (
    Answer,
    Comparison,
    Estimate,
    Finding,
    Measurement,
    Row,
    Spread,
)
from shrinkwise.experiments.stats.answering import answer
from shrinkwise.experiments.stats.measuring import measure

__all__ = [
    "Answer",
    "Comparison",
    "Estimate",
    "Finding",
    "Measurement",
    "Row",
    "Spread",
    "answer",
    "measure",
]
