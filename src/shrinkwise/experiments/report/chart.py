"""The parts that every interactive chart is made of: traces and layouts in plotly's JSON, as plain dictionaries."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shrinkwise.experiments.report.styles import Style

Trace = dict[str, Any]
Layout = dict[str, Any]
Span = tuple[float, float, float]
"""A point with the low and the high end of its interval, in the unit in which it is drawn."""


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend, which the page draws itself so that charts share it."""

    name: str
    style: Style


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        id: Fixed identifier, so that the same answer gives the same page.
        title: What stands above it.
        alt: What it shows, in words, for those who cannot see it.
        layout: Plotly's layout, colours of text and grid apart: the page adds them, as it knows whether it is light or dark.
        traces: Plotly's traces.
        choices: Key of a choice -> its traces, shown in place of ``traces``; empty where nothing can be chosen.
        height: Pixels.
    """

    id: str
    title: str
    alt: str
    layout: Layout
    traces: tuple[Trace, ...] = ()
    choices: Mapping[str, tuple[Trace, ...]] = field(default_factory=dict)
    height: int = 320


def text(words: str) -> str:
    """Return words that plotly shows as they are: it reads a subset of HTML in every label."""
    return html.escape(words, quote=False).replace("\n", "<br>")


def broken(name: str) -> str:
    """Return the name of a variant, escaped, with a line break at every ``+``: long names leave no room for a chart."""
    return text(name).replace(" + ", "<br>+ ")


def plain(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON holds them, to six significant digits: more is invisible and would only weigh."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def line(x: Sequence[float], y: Sequence[float], style: Style, hover: Sequence[str], *, is_faint: bool = False) -> Trace:
    """Return a line with its own hover texts; a faint one is thinner and always dotted."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": plain(x),
        "y": plain(y),
        "line": {"color": style.colour, "dash": "dot" if is_faint else style.dash, "width": 1.5 if is_faint else 2.25},
        "hoverinfo": "text",
        "text": list(hover),
    }


def band(x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> Trace:
    """Return the area between two curves."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": plain([*x, *reversed(x)]),
        "y": plain([*high, *reversed(low)]),
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.16)",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def errors(points: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> dict[str, Any]:
    """Return error bars from points to the ends of their intervals; none where an interval is unknown."""
    above = [high - point if math.isfinite(high) else 0.0 for point, high in zip(points, highs, strict=True)]
    below = [point - low if math.isfinite(low) else 0.0 for point, low in zip(points, lows, strict=True)]
    return {"type": "data", "symmetric": False, "array": plain(above), "arrayminus": plain(below), "thickness": 1.5, "width": 4}


def with_errors(axis: str, at: Sequence[float], spans: Sequence[Span], style: Style, hover: Sequence[str]) -> Trace:
    """Return markers with intervals.

    Args:
        axis: ``x`` or ``y``: the axis that the values and their intervals lie on.
        at: Positions on the other axis.
        spans: ``(point, low, high)`` of each marker.
        style: Colour, marker and, for values on ``y``, the dash of the line through them.
        hover: Text of each marker.
    """
    points = [span[0] for span in spans]
    other = "y" if axis == "x" else "x"
    return {
        "type": "scatter",
        "mode": "markers" if axis == "x" else "lines+markers",
        axis: plain(points),
        other: plain(at),
        f"error_{axis}": errors(points, [span[1] for span in spans], [span[2] for span in spans]) | {"color": style.colour},
        "line": {"color": style.colour, "dash": style.dash, "width": 2},
        "marker": {"color": style.colour, "symbol": style.marker, "size": 8},
        "hoverinfo": "text",
        "text": list(hover),
    }


def window(spans: Iterable[Span], include: Sequence[float] = ()) -> tuple[float, float] | None:
    """Return the range of an axis that holds all points and intervals with some air, or None where there is nothing to hold.

    >>> window([(1.0, 0.0, 2.0)], include=[4.0])
    (-0.32, 4.32)
    """
    values = [value for span in spans for value in span if math.isfinite(value)] + list(include)
    if not values:
        return None
    low, high = min(values), max(values)
    air = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - air, high + air


def axis_layout(title: str, **more: Any) -> Layout:
    """Return an axis with its title."""
    return {"title": {"text": text(title)}, "automargin": True, **more}


def note_at(x: float, y: float, words: str, **more: Any) -> dict[str, Any]:
    """Return a small text in a chart; ``words`` are plotly's HTML and must be escaped already."""
    return {"x": x, "y": y, "text": words, "showarrow": False, "font": {"size": 11}, **more}
