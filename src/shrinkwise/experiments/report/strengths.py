"""The charts of a metric against the strength of the penalty, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from shrinkwise.experiments.records import Condition
from shrinkwise.experiments.report.axis import Group, StrengthAxis, groups, strength_axis
from shrinkwise.experiments.report.chart import (
    Chart,
    Layout,
    LegendEntry,
    Span,
    axis_layout,
    note_at,
    plain,
    text,
    window,
    with_errors,
)
from shrinkwise.experiments.report.formats import Scale, find_row, is_mostly_collapsed, metrics_of, scale_of
from shrinkwise.experiments.report.styles import group_style
from shrinkwise.experiments.report.table import caption_of
from shrinkwise.experiments.stats.answer import Answer, Row
from shrinkwise.experiments.study import Study


@dataclass(frozen=True)
class Note:
    """What stands at the edge for collapsed variants of one strength: ``position`` on the axis, ``words``, and which edge."""

    position: float
    words: str
    is_below: bool
    is_last: bool


@dataclass(frozen=True)
class StrengthView:
    """What a chart of one condition and metric shows.

    Attributes:
        lines: Each group with its rows, from weak to strong.
        notes: For collapsed variants, which are not drawn.
        visible: Range of the axis of values; None where there is no value.
    """

    lines: tuple[tuple[Group, tuple[Row, ...]], ...]
    notes: tuple[Note, ...]
    visible: tuple[float, float] | None


def strength_charts(answer: Answer, study: Study) -> tuple[Chart, ...]:
    """Return one chart a condition and metric over the axis of strengths; of the primary metric alone where conditions are many."""
    axis = strength_axis(answer, study)
    if axis is None:
        return ()
    metrics = metrics_of(answer, study.primary_metric)[: 2 if len(answer.conditions) <= 2 else 1]
    return tuple(
        _strength_chart(answer, axis, condition, scale_of(answer, metric), f"strength-{m}-{c}")
        for m, metric in enumerate(metrics)
        for c, condition in enumerate(answer.conditions)
    )


def strength_legend(answer: Answer, study: Study) -> tuple[LegendEntry, ...]:
    """Return the legend of the charts over strengths: empty where there is one line only."""
    axis = strength_axis(answer, study)
    found = groups(answer, axis) if axis else ()
    return tuple(LegendEntry(group.name, group_style(number)) for number, group in enumerate(found)) if len(found) > 1 else ()


def strength_view(answer: Answer, axis: StrengthAxis, condition: Condition, scale: Scale) -> StrengthView:
    """Return what a chart of one condition shows: mostly collapsed variants would squash the others and are set apart."""
    lines = [(group, _rows(answer, condition, group, scale.metric)) for group in groups(answer, axis)]
    every = [row for _, rows in lines for row in rows]
    shown = [row for row in every if not is_mostly_collapsed(row)] or every
    visible = window(row_span(row, scale) for row in shown)
    hidden: dict[float, list[Row]] = {}
    if visible:
        low, high = visible
        for row in every:
            if row not in shown:
                hidden.setdefault(axis.position(row.variant), []).append(row)
                # The note at the edge needs a free strip.
                visible = _wider(visible, row_span(row, scale)[0], 0.14 * (high - low))
    # A line to a point far off the scale would look like a fall right beside the last point on it: such points get no line.
    kept = tuple((group, tuple(row for row in rows if row in shown)) for group, rows in lines)
    notes = tuple(_note(axis, position, rows, scale, visible) for position, rows in hidden.items() if visible)
    return StrengthView(kept, notes, visible)


def row_span(row: Row, scale: Scale) -> Span:
    """Return ``(point, low, high)`` of a row's metric in the unit of the scale."""
    estimate = row.metrics[scale.metric].estimate
    return scale.factor * estimate.point, scale.factor * estimate.low, scale.factor * estimate.high


def _strength_chart(answer: Answer, axis: StrengthAxis, condition: Condition, scale: Scale, name: str) -> Chart:
    view = strength_view(answer, axis, condition, scale)
    traces = []
    for number, (group, rows) in enumerate(view.lines):
        x = [axis.position(row.variant) + axis.shift(number, len(view.lines)) for row in rows]
        hover = [_hover(row, scale) for row in rows]
        spans = [row_span(row, scale) for row in rows]
        traces.append(with_errors("y", x, spans, group_style(number), hover) | {"name": text(group.name)})
    notes = [
        note_at(
            note.position,
            0.02 if note.is_below else 0.98,
            note.words.replace("\n", "<br>"),
            yref="paper",
            yanchor="bottom" if note.is_below else "top",
            xanchor="right" if note.is_last else "center",
            align="right" if note.is_last else "center",
        )
        for note in view.notes
    ]
    if axis.break_at is not None:
        notes.append(note_at(axis.break_at, 0, "<b>//</b>", yref="paper", yanchor="middle"))
    layout: Layout = {
        "xaxis": axis_layout(
            axis.title,
            tickvals=plain(position for position, _ in axis.ticks),
            ticktext=[label for _, label in axis.ticks],
            range=plain(axis.range),
            zeroline=False,
        ),
        "yaxis": axis_layout(scale.title, zeroline=False, **({"range": plain(view.visible)} if view.visible else {})),
        "annotations": notes,
    }
    caption = caption_of(answer, condition)
    points = [_hover(row, scale).replace("<br>", ", ") + "." for _, rows in view.lines for row in rows]
    alt = f"{scale.title} against {axis.title}, {caption}. " + " ".join(points)
    return Chart(name, f"{scale.metric}, {caption[:1].lower()}{caption[1:]}", alt, layout, tuple(traces))


def _rows(answer: Answer, condition: Condition, group: Group, metric: str) -> list[Row]:
    rows = (find_row(answer, condition, variant) for variant in group.variants)
    return [row for row in rows if row is not None and metric in row.metrics]


def _wider(visible: tuple[float, float], point: float, by: float) -> tuple[float, float]:
    """Return a range with a strip more on the side on which a point lies outside; the same one where the point is inside."""
    low, high = visible
    return (min(low, max(point, low - by)), max(high, min(point, high + by)))


def _note(axis: StrengthAxis, position: float, rows: list[Row], scale: Scale, visible: tuple[float, float]) -> Note:
    is_below = row_span(rows[0], scale)[0] <= sum(visible) / 2
    values = " / ".join(scale.value(row.metrics[scale.metric].estimate.point) for row in rows)
    return Note(position, f"collapsed\n{'↓' if is_below else '↑'} {values}", is_below, position == axis.ticks[-1][0])


def _hover(row: Row, scale: Scale) -> str:
    spread = row.metrics[scale.metric]
    trouble = f", {row.collapsed} collapsed" if row.collapsed else ""
    return f"{text(row.variant.name)}<br>{scale.spread(spread.estimate.point, spread.std)} {scale.unit}<br>n = {row.n}{trouble}"
