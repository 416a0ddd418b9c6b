"""Figures for papers, drawn with matplotlib and without its global state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shrinkwise.errors import MissingExtraError
from shrinkwise.experiments.records import Condition
from shrinkwise.experiments.report.axis import StrengthAxis, strength_axis
from shrinkwise.experiments.report.chart import Span
from shrinkwise.experiments.report.differences import (
    compared_with_base,
    difference_span,
    difference_title,
    difference_window,
    margin_of,
    off_scale,
    seed_offsets,
)
from shrinkwise.experiments.report.formats import SYMBOLS, Scale, metrics_of, scale_of
from shrinkwise.experiments.report.strengths import row_span, strength_view
from shrinkwise.experiments.report.styles import group_style, variant_styles
from shrinkwise.experiments.report.table import caption_of
from shrinkwise.experiments.stats.answer import Answer, Comparison
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_COLUMNS = 3


def plot(answer: Answer, study: Study) -> dict[str, Figure]:
    """Return the figures of an answer, each with a panel a condition.

    ``strength`` shows the primary metric against the strength with intervals (one row of panels more for a second metric, where
    conditions are few); ``differences`` shows the paired differences from the base. A figure without data is left out. Collapsed
    variants are kept off the scale and noted at its edge.

    Args:
        answer: What the statistics say.
        study: What was asked.

    Returns:
        Name -> figure, to be saved with ``savefig`` as PDF, PNG or SVG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib is not installed", "the figures are drawn with it", "pip install 'shrinkwise[experiments]'"
        ) from error
    figures = {"strength": _strength_figure(answer, study), "differences": _difference_figure(answer, study)}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _strength_figure(answer: Answer, study: Study) -> Figure | None:
    axis = strength_axis(answer, study)
    if axis is None:
        return None
    metrics = metrics_of(answer, study.primary_metric)[: 2 if len(answer.conditions) <= _MOST_COLUMNS else 1]
    panels = [(metric, condition) for metric in metrics for condition in answer.conditions]
    figure, places = _panels(len(panels), min(len(answer.conditions), _MOST_COLUMNS), (3.6, 2.8))
    for place, (metric, condition) in zip(places, panels, strict=True):
        _strength_panel(place, answer, axis, condition, scale_of(answer, metric))
    handles, labels = places[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4), frameon=False)
    return figure


def _strength_panel(place: Axes, answer: Answer, axis: StrengthAxis, condition: Condition, scale: Scale) -> None:
    view = strength_view(answer, axis, condition, scale)
    for number, (group, rows) in enumerate(view.lines):
        look = group_style(number)
        spans = [row_span(row, scale) for row in rows]
        x = [axis.position(row.variant) + axis.shift(number, len(view.lines)) for row in rows]
        drawn: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "marker": look.point, "markersize": 5, "capsize": 3}
        place.errorbar(x, [span[0] for span in spans], yerr=_errors(spans), label=group.name, **drawn)
    if view.visible:
        place.set_ylim(*view.visible)
    for note in view.notes:
        sides: dict[str, Any] = {"ha": "right" if note.is_last else "center", "va": "bottom" if note.is_below else "top"}
        at = (note.position, 0.03 if note.is_below else 0.97)
        place.annotate(note.words, at, xycoords=("data", "axes fraction"), fontsize=7.5, **sides)
    place.set_xticks([position for position, _ in axis.ticks], [label for _, label in axis.ticks])
    place.set_xlim(*axis.range)
    if axis.break_at is not None:
        place.text(axis.break_at, 0, "//", transform=place.get_xaxis_transform(), ha="center", va="center", fontweight="bold")
    place.set_xlabel(axis.title)
    place.set_ylabel(scale.title)
    place.set_title(caption_of(answer, condition), fontsize=10)


def _difference_figure(answer: Answer, study: Study) -> Figure | None:
    scale = scale_of(answer, study.primary_metric)
    panels = [
        (condition, found)
        for condition in answer.conditions
        if (found := compared_with_base(answer, answer.comparisons, condition, scale.metric))
    ]
    if not panels:
        return None
    height = 1.1 + 0.42 * max(len(found) for _, found in panels)
    figure, places = _panels(len(panels), min(len(panels), 2), (5.2, height))
    for place, (condition, found) in zip(places, panels, strict=True):
        _difference_panel(place, answer, study, found)
        place.set_xlabel(difference_title(scale))
        place.set_title(caption_of(answer, condition), fontsize=10)
    return figure


def _difference_panel(place: Axes, answer: Answer, study: Study, compared: list[Comparison]) -> None:
    scale = scale_of(answer, study.primary_metric)
    styles = variant_styles(answer, study)
    margin = scale.factor * margin_of(answer, study, compared[0].condition)
    visible = difference_window(answer, study, compared)
    place.axvspan(-margin, margin, color="0.5", alpha=0.16, linewidth=0)
    place.axvline(0, color="0.35", linewidth=1)
    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
    for y, each in enumerate(compared):
        colour = styles[each.variant].colour
        span = difference_span(each, scale)
        offsets = [y + offset for offset in seed_offsets(len(each.differences))]
        place.plot([scale.factor * value for value in each.differences], offsets, ".", color=colour, alpha=0.5, markersize=6)
        place.errorbar([span[0]], [y], xerr=_errors([span]), color=colour, marker="D", markersize=6, capsize=3)
        place.annotate(f"{SYMBOLS[each.finding]} {each.finding.value}", (1.02, y), **beside)
        if visible and (edge := off_scale(each, scale, visible)):
            is_left = edge.startswith("←")
            place.annotate(edge, (0.02 if is_left else 0.98, y), ha="left" if is_left else "right", **beside)
    if visible:
        place.set_xlim(*visible)
    place.set_ylim(len(compared) - 0.45, -0.55)
    place.set_yticks(range(len(compared)), [each.variant.name.replace(" + ", "\n+ ") for each in compared], fontsize=8)


def _panels(n: int, n_columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure and its first ``n`` panels; ``size`` is a panel's, in inches."""
    from matplotlib.figure import Figure

    n_rows = -(-n // n_columns)
    figure = Figure(figsize=(size[0] * n_columns, size[1] * n_rows + 0.3), layout="constrained")
    places = [figure.add_subplot(n_rows, n_columns, number + 1) for number in range(n)]
    for place in places:
        place.spines[["top", "right"]].set_visible(False)
    return figure, places


def _errors(spans: list[Span]) -> np.ndarray:
    """Return the lengths of error bars, shape ``(2, point)``; an unknown interval has none."""
    lengths = np.array([[point - low, high - point] for point, low, high in spans], dtype=float).reshape(-1, 2).T
    return np.asarray(np.where(np.isfinite(lengths), lengths, 0.0))
