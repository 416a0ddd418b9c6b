"""What may be chosen: λ on a log scale, none at all, and lists of other settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shrinkwise.experiments.records import Setting, Variant


@dataclass(frozen=True)
class Space:
    """The settings among which a method chooses.

    Attributes:
        low: Least λ above none, in the user's unit. ``high``: the largest. The range is extended where the best lies at its edge,
            unless ``is_fixed``.
        default: What is kept where nothing beyond noise is to be gained: λ in the user's unit, 0 for none.
        name: The setting that holds λ.
        unit: The user's unit of λ.
        others: Further settings that are searched together with λ -> their values, such as ``{"lr": (0.01, 0.03, 0.1)}``; the
            first of each is the default's.
        fixed: Settings that every variant has.
        is_fixed: Whether the range may not be extended.
    """

    low: float = 1e-6
    high: float = 1.0
    default: float = 0.0
    name: str = "l2"
    unit: str = "half"
    others: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    fixed: Mapping[str, Setting] = field(default_factory=dict)
    is_fixed: bool = False

    def variant(self, lam: float, **others: Setting) -> Variant:
        """Return the variant with a strength, and with other settings; those that are not given are the default's."""
        first = {name: values[0] for name, values in self.others.items()}
        return Variant(**{self.name: int(lam) if float(lam).is_integer() else float(lam), **self.fixed, **first, **others})

    @property
    def default_variant(self) -> Variant:
        """The variant that is kept where nothing beyond noise is to be gained."""
        return self.variant(self.default)
