"""What one unit of λ means.

Converts every way of writing λ to the package's one: mean loss + (lam/2)·Σw², and back.
The only place where a factor of 2 or N stands.
"""

from shrinkwise.regularization.strength.conversion import Conversion, OptimizerKind, convert
from shrinkwise.regularization.strength.units import UNITS, Unit, find_unit, from_lam, to_lam

__all__ = ["UNITS", "Conversion", "OptimizerKind", "Unit", "convert", "find_unit", "from_lam", "to_lam"]
