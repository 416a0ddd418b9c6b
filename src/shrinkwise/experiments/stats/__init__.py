"""Estimates, comparisons and verdicts.

NumPy and SciPy only, no torch: numbers by variant and seed in, statements out.
Every random draw takes a Generator.
"""

from shrinkwise.experiments.stats.answer import (
    HIGHER_IS_BETTER,
    Answer,
    Comparison,
    Estimate,
    Finding,
    Measurement,
    Row,
    Spread,
)
from shrinkwise.experiments.stats.answering import answer
from shrinkwise.experiments.stats.pairing import measure

__all__ = [
    "HIGHER_IS_BETTER",
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
