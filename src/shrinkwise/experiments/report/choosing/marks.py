"""What all interactive charts of a choice are drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shrinkwise.experiments.report.axis import StrengthAxis
from shrinkwise.experiments.report.chart import Trace, axis_layout, note_at, plain, text
from shrinkwise.experiments.report.choosing.view import ChoiceView, axis_range
from shrinkwise.experiments.report.choosing.words import lam_text
from shrinkwise.experiments.report.styles import Style


def markers(
    x: Sequence[float], y: Sequence[float], look: Style, hover: Sequence[str], *, size: int, is_open: bool = False
) -> Trace:
    """Return points with their hover texts, filled or open."""
    marker: dict[str, Any] = {"color": look.colour, "symbol": look.marker, "size": size, "line": {"width": 0}}
    if is_open:
        marker |= {"symbol": f"{look.marker}-open", "line": {"width": 2.5, "color": look.colour}}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": plain(x),
        "y": plain(y),
        "marker": marker,
        "hoverinfo": "text",
        "text": list(hover),
    }


def x_axis(view: ChoiceView) -> dict[str, Any]:
    """Return the axis of λ."""
    return axis_layout(
        view.axis.title,
        tickvals=plain(place for place, _ in view.axis.ticks),
        ticktext=[label for _, label in view.axis.ticks],
        range=plain(axis_range(view)),
        zeroline=False,
    )


def axis_break(axis: StrengthAxis) -> list[dict[str, Any]]:
    """Return the sign between no penalty and the least strength, where the axis has both."""
    return [] if axis.break_at is None else [note_at(axis.break_at, 0, "<b>//</b>", yref="paper", yanchor="middle")]


def lam_words(view: ChoiceView, lam: float) -> str:
    """Write a strength with its name, for a hover text."""
    return f"{text(view.choice.name)} = {lam_text(lam)}"
