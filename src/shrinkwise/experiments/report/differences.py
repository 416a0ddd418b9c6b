"""The charts of paired differences from the base, seed by seed, and what other charts of differences share with them."""

from __future__ import annotations

from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.experiments.report.chart import (
    Chart,
    Layout,
    Span,
    Trace,
    axis_layout,
    broken,
    note_at,
    plain,
    text,
    window,
    with_errors,
)
from shrinkwise.experiments.report.formats import SYMBOLS, Scale, find_comparison, find_row, is_mostly_collapsed, scale_of
from shrinkwise.experiments.report.styles import Style, variant_styles
from shrinkwise.experiments.report.table import caption_of
from shrinkwise.experiments.stats.answer import Answer, Comparison
from shrinkwise.experiments.stats.margin import Margin
from shrinkwise.experiments.stats.metric import metric_of
from shrinkwise.experiments.study import Study

_ROW_HEIGHT = 42


def difference_charts(answer: Answer, study: Study) -> tuple[Chart, ...]:
    """Return one chart a condition: every paired difference from the base in the primary metric, its mean and interval."""
    scale = scale_of(answer, study.primary_metric)
    charts = (
        _difference_chart(answer, study, condition, scale, f"difference-{c}") for c, condition in enumerate(answer.conditions)
    )
    return tuple(chart for chart in charts if chart.traces)


def difference_window(answer: Answer, study: Study, compared: list[Comparison]) -> tuple[float, float] | None:
    """Return the range that holds zero, the margin and every difference of the variants that did not collapse."""
    if not compared:
        return None
    scale = scale_of(answer, study.primary_metric)
    shown = [each for each in compared if not is_collapsed(answer, each)] or compared
    dots: list[Span] = [(scale.factor * value,) * 3 for each in shown for value in each.differences]
    margin = scale.factor * margin_of(answer, study, compared[0].condition)
    return window([difference_span(each, scale) for each in shown] + dots, include=[0.0, -margin, margin])


def seed_offsets(n: int) -> list[float]:
    """Return how far above or below its line each of ``n`` seeds is drawn, first on top.

    >>> seed_offsets(3)
    [-0.3, 0.0, 0.3]
    """
    return [0.6 * number / (n - 1) - 0.3 for number in range(n)] if n > 1 else [0.0] * n


def off_scale(comparison: Comparison, scale: Scale, visible: tuple[float, float]) -> str:
    """Return what stands at the edge for a mean outside of the range; empty for one inside.

    Its arrow says at which edge: ``← −72.1`` or ``+0.9 →``.
    """
    point = difference_span(comparison, scale)[0]
    words = scale.difference(comparison.difference.point)
    return f"← {words}" if point < visible[0] else f"{words} →" if point > visible[1] else ""


def _difference_chart(answer: Answer, study: Study, condition: Condition, scale: Scale, name: str) -> Chart:
    compared = compared_with_base(answer, answer.comparisons, condition, scale.metric)
    visible = difference_window(answer, study, compared)
    styles = variant_styles(answer, study)
    traces: list[Trace] = []
    notes = []
    for y, each in enumerate(compared):
        style = styles[each.variant]
        mean = with_errors("x", [y], [difference_span(each, scale)], style, [_difference_hover(each, scale)])
        mean["marker"] |= {"symbol": "diamond", "size": 11, "line": {"width": 1, "color": style.colour}}
        traces += [_dots(each, y, style, scale), mean]
        notes.append(note_at(1, y, f"{SYMBOLS[each.finding]} {each.finding.value}", xref="paper", xanchor="left", xshift=8))
        if visible and (edge := off_scale(each, scale, visible)):
            side = {"xanchor": "left", "x": 0.01} if edge.startswith("←") else {"xanchor": "right", "x": 0.99}
            notes.append(note_at(0, y, edge, xref="paper", bgcolor="card") | side)
    layout: Layout = difference_layout(scale, [each.variant for each in compared], visible)
    layout |= {"annotations": notes, "margin": {"r": 96}}
    if margin := margin_of(answer, study, condition) * scale.factor:
        band = {"type": "rect", "x0": -margin, "x1": margin, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
        layout["shapes"] = [band | {"line": {"width": 0}, "fillcolor": "rgba(128,128,128,0.16)"}]
    alt = f"Differences from {answer.base.name} in {scale.metric}, {caption_of(answer, condition)}. " + " ".join(
        f"{each.variant.name}: {_interval_words(each, scale)}, {each.finding.value}." for each in compared
    )
    return Chart(name, caption_of(answer, condition), alt, layout, tuple(traces), height=100 + _ROW_HEIGHT * len(compared))


def _dots(comparison: Comparison, y: int, style: Style, scale: Scale) -> Trace:
    seeds = zip(comparison.seeds, comparison.differences, strict=True)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": plain(scale.factor * value for value in comparison.differences),
        "y": plain(y + offset for offset in seed_offsets(len(comparison.differences))),
        "marker": {"color": style.colour, "size": 6, "opacity": 0.55},
        "hoverinfo": "text",
        "text": [f"{text(comparison.variant.name)}<br>seed {text(str(s))}: {scale.difference(d)}" for s, d in seeds],
    }


def _difference_hover(comparison: Comparison, scale: Scale) -> str:
    return f"{text(comparison.variant.name)}<br>{_interval_words(comparison, scale)}<br>{comparison.finding.value}"


def _interval_words(comparison: Comparison, scale: Scale) -> str:
    estimate = comparison.difference
    return f"{scale.difference(estimate.point)} {scale.interval(estimate.low, estimate.high).replace('–', '')}".strip()


def is_collapsed(answer: Answer, comparison: Comparison) -> bool:
    """Whether the variant of a comparison learned nothing on at least half of its seeds."""
    row = find_row(answer, comparison.condition, comparison.variant)
    return row is not None and is_mostly_collapsed(row)


def compared_with_base(answer: Answer, comparisons: tuple[Comparison, ...], condition: Condition, metric: str) -> list[Comparison]:
    """Return the comparisons of one condition and metric in the order of the variants."""
    found = (find_comparison(comparisons, condition, variant, metric) for variant in answer.variants)
    return [each for each in found if each is not None]


def difference_span(comparison: Comparison, scale: Scale) -> Span:
    """Return ``(point, low, high)`` of a difference in the unit of the scale."""
    estimate = comparison.difference
    return scale.factor * estimate.point, scale.factor * estimate.low, scale.factor * estimate.high


def difference_layout(scale: Scale, variants: list[Variant], visible: tuple[float, float] | None) -> Layout:
    """Return the layout of a chart with a line a variant, first on top, and differences along x."""
    ticks = {"tickvals": list(range(len(variants))), "ticktext": [broken(variant.name) for variant in variants]}
    return {
        "xaxis": axis_layout(difference_title(scale), zeroline=True, **({"range": plain(visible)} if visible else {})),
        "yaxis": axis_layout("", range=[len(variants) - 0.45, -0.55], zeroline=False, showgrid=False, **ticks),
    }


def difference_title(scale: Scale, side: str = "right") -> str:
    """Return the title of an axis of differences, with the side on which better lies where the metric is one of ours."""
    is_higher_better = metric_of(scale.metric).is_higher_better
    if is_higher_better is None:
        return scale.difference_title
    opposite = {"right": "left", "up": "down"}[side]
    separator = ", " if side == "up" else "\n"
    better = side if is_higher_better else opposite
    return f"{scale.difference_title}{separator}{better} is better"


def margin_of(answer: Answer, study: Study, condition: Condition) -> float:
    """Return the half-width of what counts as equivalent within a condition, in the metric's own unit."""
    base = find_row(answer, condition, answer.base)
    spread = base.metrics.get(study.primary_metric) if base else None
    return Margin(study.margin, study.is_margin_relative).width(spread.estimate.point if spread else 0.0)
