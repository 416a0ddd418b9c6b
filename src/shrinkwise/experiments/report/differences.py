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
from shrinkwise.experiments.report.styles import variant_styles
from shrinkwise.experiments.report.table import caption_of
from shrinkwise.experiments.stats.answer import HIGHER_IS_BETTER, Answer, Comparison
from shrinkwise.experiments.study import Study

_ROW_HEIGHT = 42


def difference_charts(answer: Answer, study: Study) -> tuple[Chart, ...]:
    """Return one chart a condition: every paired difference from the base in the primary metric, its mean and interval."""
    scale = scale_of(answer, study.primary_metric)
    charts = (
        _difference_chart(answer, study, condition, scale, f"difference-{c}") for c, condition in enumerate(answer.conditions)
    )
    return tuple(chart for chart in charts if chart.traces)


def _difference_chart(answer: Answer, study: Study, condition: Condition, scale: Scale, name: str) -> Chart:
    compared = compared_with_base(answer, answer.comparisons, condition, scale.metric)
    shown = [each for each in compared if not is_collapsed(answer, each)] or compared
    margin = margin_of(answer, study, condition) * scale.factor
    spans = [difference_span(each, scale) for each in shown] + [
        (scale.factor * value,) * 3 for each in shown for value in each.differences
    ]
    visible = window(spans, include=[0.0, -margin, margin])
    styles = variant_styles(answer, study)
    traces: list[Trace] = []
    notes = []
    for y, each in enumerate(compared):
        style = styles[each.variant]
        n = len(each.differences)
        offsets = [y + 0.3 * (2 * number / max(n - 1, 1) - 1) if n > 1 else float(y) for number in range(n)]
        hover = [
            f"{text(each.variant.name)}<br>seed {text(str(s))}: {scale.difference(d)}"
            for s, d in zip(each.seeds, each.differences, strict=True)
        ]
        dots = {"type": "scatter", "mode": "markers", "x": plain(scale.factor * d for d in each.differences), "y": plain(offsets)}
        dots |= {"marker": {"color": style.colour, "size": 6, "opacity": 0.55}, "hoverinfo": "text", "text": hover}
        mean = with_errors("x", [y], [difference_span(each, scale)], style, [_difference_hover(each, scale)])
        mean["marker"] |= {"symbol": "diamond", "size": 11, "line": {"width": 1, "color": style.colour}}
        traces += [dots, mean]
        notes.append(note_at(1, y, f"{SYMBOLS[each.finding]} {each.finding.value}", xref="paper", xanchor="left", xshift=8))
        if visible and not visible[0] <= difference_span(each, scale)[0] <= visible[1]:
            notes.append(_off_scale_note(each, scale, y, visible))
    layout: Layout = difference_layout(scale, [each.variant for each in compared], visible) | {"annotations": notes}
    if margin > 0:
        layout["shapes"] = [
            {"type": "rect", "x0": -margin, "x1": margin, "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line": {"width": 0}}
            | {"fillcolor": "rgba(128,128,128,0.16)"}
        ]
    layout["margin"] = {"r": 96}
    alt = f"Differences from {answer.base.name} in {scale.metric}, {caption_of(answer, condition)}. " + " ".join(
        f"{each.variant.name}: {_interval_words(each, scale)}, {each.finding.value}." for each in compared
    )
    return Chart(name, caption_of(answer, condition), alt, layout, tuple(traces), height=90 + _ROW_HEIGHT * len(compared))


def _off_scale_note(comparison: Comparison, scale: Scale, y: int, visible: tuple[float, float]) -> dict[str, object]:
    is_left = difference_span(comparison, scale)[0] < visible[0]
    words = f"← {_interval_words(comparison, scale)}" if is_left else f"{_interval_words(comparison, scale)} →"
    return note_at(visible[0] if is_left else visible[1], y, words, xanchor="left" if is_left else "right")


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
    if scale.metric not in HIGHER_IS_BETTER:
        return scale.difference_title
    opposite = {"right": "left", "up": "down"}[side]
    return f"{scale.difference_title}, {side if HIGHER_IS_BETTER[scale.metric] else opposite} is better"


def margin_of(answer: Answer, study: Study, condition: Condition) -> float:
    """Return the half-width of what counts as equivalent within a condition, in the metric's own unit."""
    if not study.is_margin_relative:
        return study.margin
    base = find_row(answer, condition, answer.base)
    spread = base.metrics.get(study.primary_metric) if base else None
    return study.margin * abs(spread.estimate.point) if spread else 0.0
