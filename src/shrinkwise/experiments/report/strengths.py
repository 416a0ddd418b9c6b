"""The charts of a metric against the strength of the penalty, with intervals."""

from __future__ import annotations

from collections.abc import Iterator

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


def strength_charts(answer: Answer, study: Study) -> tuple[Chart, ...]:
    """Return one chart a condition and metric, of at most two metrics, over the axis of strengths; none where no strength varies."""
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


def _strength_chart(answer: Answer, axis: StrengthAxis, condition: Condition, scale: Scale, name: str) -> Chart:
    lines = [(group, _rows(answer, condition, group, scale.metric)) for group in groups(answer, axis)]
    every = [row for _, rows in lines for row in rows]
    shown = [row for row in every if not is_mostly_collapsed(row)] or every
    visible = window(_span(row, scale) for row in shown)
    step = axis.ticks[-1][0] - axis.ticks[0][0]
    traces = []
    for number, (group, rows) in enumerate(lines):
        shift = 0.018 * step * (number - (len(lines) - 1) / 2)
        x = [axis.position(row.variant) + shift for row in rows]
        hover = [_hover(row, scale) for row in rows]
        traces.append(
            with_errors("y", x, [_span(row, scale) for row in rows], group_style(number), hover) | {"name": text(group.name)}
        )
    layout: Layout = {
        "xaxis": axis_layout(
            axis.title,
            tickvals=plain(position for position, _ in axis.ticks),
            ticktext=[label for _, label in axis.ticks],
            range=plain((axis.ticks[0][0] - 0.06 * step, axis.ticks[-1][0] + 0.06 * step)),
            zeroline=False,
        ),
        "yaxis": axis_layout(scale.title, zeroline=False, **({"range": plain(visible)} if visible else {})),
        "annotations": list(_collapsed_notes(axis, every, shown, scale, visible)),
    }
    if axis.break_at is not None:
        layout["annotations"].append(note_at(axis.break_at, 0, "<b>//</b>", yref="paper", yanchor="middle"))
    caption = caption_of(answer, condition)
    alt = f"{scale.title} against {axis.title}, {caption}. " + " ".join(
        _hover(row, scale).replace("<br>", ", ") + "." for row in every
    )
    return Chart(name, f"{scale.metric}, {caption[:1].lower()}{caption[1:]}", alt, layout, tuple(traces))


def _rows(answer: Answer, condition: Condition, group: Group, metric: str) -> list[Row]:
    rows = (find_row(answer, condition, variant) for variant in group.variants)
    return [row for row in rows if row is not None and metric in row.metrics]


def _collapsed_notes(
    axis: StrengthAxis, every: list[Row], shown: list[Row], scale: Scale, visible: tuple[float, float] | None
) -> Iterator[dict[str, object]]:
    """Yield a note at the edge for every strength whose collapsed runs lie outside of the range."""
    if visible is None:
        return
    hidden: dict[float, list[Row]] = {}
    for row in every:
        if row not in shown and not visible[0] <= _span(row, scale)[0] <= visible[1]:
            hidden.setdefault(axis.position(row.variant), []).append(row)
    for x, rows in hidden.items():
        is_below = _span(rows[0], scale)[0] < visible[0]
        values = " / ".join(scale.value(row.metrics[scale.metric].estimate.point) for row in rows)
        words = f"collapsed<br>{'↓' if is_below else '↑'} {values}"
        anchor = "right" if x == axis.ticks[-1][0] else "center"
        yield note_at(
            x,
            0.02 if is_below else 0.98,
            words,
            yref="paper",
            yanchor="bottom" if is_below else "top",
            xanchor=anchor,
            align="right",
        )


def _span(row: Row, scale: Scale) -> Span:
    estimate = row.metrics[scale.metric].estimate
    return scale.factor * estimate.point, scale.factor * estimate.low, scale.factor * estimate.high


def _hover(row: Row, scale: Scale) -> str:
    spread = row.metrics[scale.metric]
    trouble = f", {row.collapsed} collapsed" if row.collapsed else ""
    return f"{text(row.variant.name)}<br>{scale.spread(spread.estimate.point, spread.std)} {scale.unit}<br>n = {row.n}{trouble}"
