"""What one unit of λ means.

Converts every way of writing λ to the package's one, mean loss + (lam/2)·Σw², and back; moves λ over time and to other scales.
The only place where a factor of 2 or N stands.
"""

from shrinkwise.regularization.strength import schedules
from shrinkwise.regularization.strength.conversion import Conversion, convert, from_lam, to_lam
from shrinkwise.regularization.strength.relation import OptimizerKind
from shrinkwise.regularization.strength.scaling import Rescaled, ScalingStep, rescale
from shrinkwise.regularization.strength.schedules import Schedule
from shrinkwise.regularization.strength.units import UNITS, Unit, find_unit

__all__ = [
    "UNITS",
    "Conversion",
    "OptimizerKind",
    "Rescaled",
    "ScalingStep",
    "Schedule",
    "Unit",
    "convert",
    "find_unit",
    "from_lam",
    "rescale",
    "schedules",
    "to_lam",
]
