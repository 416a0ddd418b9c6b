"""What a choice looks like in every picture."""

from __future__ import annotations

from shrinkwise.experiments.report.styles import PALETTE, Style, style

CURVE = style(1, 0)
"""The expected curve."""
MARK = "#c8690a"
"""What is chosen."""
MUTED = "#7a828c"
"""What stands beside it: the default, an earlier interval."""
_HUES = tuple(hue for hue in range(3, len(PALETTE)))


def seed_style(number: int) -> Style:
    """Return the style of a seed: neither the blue of the curve nor the orange of the choice, nor grey."""
    return style(_HUES[number % len(_HUES)], number // len(_HUES))
