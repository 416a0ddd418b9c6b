"""How a gain changes: across training sizes and label noise, and when runs keep their epoch of best validation loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.experiments.report.chart import Chart, LegendEntry, Span, axis_layout, plain, text, window, with_errors
from shrinkwise.experiments.report.differences import (
    compared_with_base,
    difference_layout,
    difference_span,
    difference_title,
    is_collapsed,
)
from shrinkwise.experiments.report.formats import SYMBOLS, Scale, find_comparison, percent, scale_of
from shrinkwise.experiments.report.styles import Style, style, variant_styles
from shrinkwise.experiments.report.table import caption_of
from shrinkwise.experiments.stats.answer import Answer, Comparison
from shrinkwise.experiments.study import Study


@dataclass(frozen=True)
class Stopping:
    """One of the three ways to set early stopping against regularisation.

    Attributes:
        name: In words.
        comparisons: What came of it.
        style: How it is drawn.
    """

    name: str
    comparisons: tuple[Comparison, ...]
    style: Style


@dataclass(frozen=True)
class StoppingLine:
    """One line of the table beside the charts: a variant within a condition, a text for each way."""

    condition: str
    variant: str
    cells: tuple[str, ...]


def condition_charts(answer: Answer, study: Study) -> tuple[Chart, ...]:
    """Return how the differences change across conditions: a chart a noise over training sizes, else one over noise."""
    sizes = list(dict.fromkeys(condition.train_size for condition in answer.conditions))
    noises = list(dict.fromkeys(condition.label_noise for condition in answer.conditions))
    scale = scale_of(answer, study.primary_metric)
    if len(sizes) > 1:
        return tuple(
            _gain_chart(answer, study, scale, _Panel(f"size-{number}", conditions, "training rows", _size_name))
            for number, noise in enumerate(noises)
            if len(conditions := tuple(each for each in answer.conditions if each.label_noise == noise)) > 1
        )
    if len(noises) > 1:
        return (_gain_chart(answer, study, scale, _Panel("noise-0", answer.conditions, "label noise", _noise_name)),)
    return ()


def variant_legend(answer: Answer, study: Study) -> tuple[LegendEntry, ...]:
    """Return the legend of charts that draw a line for every variant."""
    styles = variant_styles(answer, study)
    return tuple(LegendEntry(each.name, styles[each]) for each in answer.variants)


def gain_legend(answer: Answer, study: Study) -> tuple[LegendEntry, ...]:
    """Return the legend of :func:`condition_charts`: the variants that did not collapse everywhere."""
    styles = variant_styles(answer, study)
    return tuple(LegendEntry(each.name, styles[each]) for each in _drawn(answer, study.primary_metric))


def stoppings(answer: Answer, study: Study) -> tuple[Stopping, ...]:
    """Return the ways to set early stopping against regularisation; none where epochs of best validation loss are unknown."""
    if not answer.early_stopped:
        return ()
    judged = "last epoch" if study.select == "last" else "epoch of best validation loss"
    base = answer.base.name
    ways = (
        (f"as judged above: {judged} of both", answer.comparisons, style(1, 0)),
        ("both stopped at their epoch of best validation loss", answer.early_stopped, style(2, 1)),
        (f"only {base} stopped early: what the variant adds to that", answer.over_stopped_base, style(3, 2)),
    )
    return tuple(Stopping(*way) for way in ways if way[1])


def stopping_charts(answer: Answer, study: Study) -> tuple[Chart, ...]:
    """Return one chart a condition: the difference of every variant in each of :func:`stoppings`."""
    ways = stoppings(answer, study)
    scale = scale_of(answer, study.primary_metric)
    charts = []
    for number, condition in enumerate(answer.conditions if ways else ()):
        first = compared_with_base(answer, ways[0].comparisons, condition, scale.metric)
        kept = [each.variant for each in first if not is_collapsed(answer, each)]
        if not kept:
            continue
        traces, spans = [], []
        for w, way in enumerate(ways):
            found = [each for each in compared_with_base(answer, way.comparisons, condition, scale.metric) if each.variant in kept]
            mine = [difference_span(each, scale) for each in found]
            y = [kept.index(each.variant) + 0.24 * (w - (len(ways) - 1) / 2) for each in found]
            hover = [f"{text(each.variant.name)}<br>{text(way.name)}<br>{_words(each, scale)}" for each in found]
            traces.append(with_errors("x", y, mine, way.style, hover))
            spans += mine
        layout = difference_layout(scale, kept, window(spans, include=[0.0]))
        alt = (
            f"{caption_of(answer, condition)}: differences from {answer.base.name} with and without early stopping; numbers below."
        )
        charts.append(
            Chart(f"stopping-{number}", caption_of(answer, condition), alt, layout, tuple(traces), height=90 + 46 * len(kept))
        )
    return tuple(charts)


def stopping_lines(answer: Answer, study: Study) -> tuple[StoppingLine, ...]:
    """Return the numbers behind :func:`stopping_charts`, collapsed variants among them."""
    ways = stoppings(answer, study)
    scale = scale_of(answer, study.primary_metric)
    lines = []
    for condition in answer.conditions if ways else ():
        for variant in answer.variants:
            found = [find_comparison(way.comparisons, condition, variant, scale.metric) for way in ways]
            if any(found):
                cells = tuple(_words(each, scale) if each else "–" for each in found)
                lines.append(StoppingLine(caption_of(answer, condition), variant.name, cells))
    return tuple(lines)


@dataclass(frozen=True)
class _Panel:
    id: str
    conditions: tuple[Condition, ...]
    title: str
    label: Callable[[Condition], str]


def _gain_chart(answer: Answer, study: Study, scale: Scale, panel: _Panel) -> Chart:
    styles = variant_styles(answer, study)
    variants = _drawn(answer, scale.metric)
    traces, spans = [], []
    for number, variant in enumerate(variants):
        found = [find_comparison(answer.comparisons, condition, variant, scale.metric) for condition in panel.conditions]
        known = [(x, each) for x, each in enumerate(found) if each is not None and not is_collapsed(answer, each)]
        shift = 0.2 * (number / max(len(variants) - 1, 1) - 0.5)
        mine: list[Span] = [difference_span(each, scale) for _, each in known]
        hover = [f"{text(variant.name)}<br>{text(each.condition.name)}<br>{_words(each, scale)}" for _, each in known]
        traces.append(with_errors("y", [x + shift for x, _ in known], mine, styles[variant], hover))
        spans += mine
    visible = window(spans, include=[0.0])
    noise = _noise_name(panel.conditions[0])
    title = f"{noise} label noise" if panel.id.startswith("size") else "across label noise"
    layout = {
        "xaxis": axis_layout(
            panel.title,
            tickvals=list(range(len(panel.conditions))),
            ticktext=[text(panel.label(condition)) for condition in panel.conditions],
            range=[-0.45, len(panel.conditions) - 0.55],
            zeroline=False,
            showgrid=False,
        ),
        "yaxis": axis_layout(difference_title(scale, "up"), zeroline=True, **({"range": plain(visible)} if visible else {})),
    }
    alt = f"How the difference from {answer.base.name} in {scale.metric} changes over {panel.title}; numbers in the tables above."
    return Chart(panel.id, title, alt, layout, tuple(traces), height=400)


def _drawn(answer: Answer, metric: str) -> list[Variant]:
    """Return the variants that some condition shows alive, in order."""
    alive = {each.variant for each in answer.comparisons if each.metric == metric and not is_collapsed(answer, each)}
    return [variant for variant in answer.variants if variant in alive]


def _words(comparison: Comparison, scale: Scale) -> str:
    estimate = comparison.difference
    interval = scale.interval(estimate.low, estimate.high).replace("–", "")
    return " ".join(
        f"{scale.difference(estimate.point)} {interval} {SYMBOLS[comparison.finding]} {comparison.finding.value}".split()
    )


def _size_name(condition: Condition) -> str:
    return "all" if condition.train_size is None else f"{condition.train_size:,}"


def _noise_name(condition: Condition) -> str:
    return percent(condition.label_noise)
