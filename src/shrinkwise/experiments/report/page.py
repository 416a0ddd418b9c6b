"""The answer as one HTML page that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shrinkwise.experiments.records import Condition, Record
from shrinkwise.experiments.report import curves, differences, gains, network, strengths, words
from shrinkwise.experiments.report.chart import Chart, LegendEntry
from shrinkwise.experiments.report.failures import failures
from shrinkwise.experiments.report.formats import NOTHING, headline_metrics, scale_of
from shrinkwise.experiments.report.html import render
from shrinkwise.experiments.report.lines import Line, level_of, lines_of
from shrinkwise.experiments.report.styles import style
from shrinkwise.experiments.report.table import caption_of
from shrinkwise.experiments.stats.answer import Answer
from shrinkwise.experiments.study import Study


@dataclass(frozen=True)
class Table:
    """The table of one condition.

    Attributes:
        caption: Name of the condition.
        lines: Its lines.
        has_norm: Whether weight norms are known.
    """

    caption: str
    lines: tuple[Line, ...]
    has_norm: bool


@dataclass(frozen=True)
class Training:
    """The section on what happened while training.

    Attributes:
        conditions: ``(place, name)`` of the conditions that can be chosen; ``variants`` likewise.
        condition: Place of the one that is chosen first; ``variant`` likewise.
        learning: Learning curves.
        learning_legend: What their colours mean.
        norms: Norms of weights, a chart a layer.
        norm_legend: What their lines mean.
        n_layers: Number of layers whose norms are known, shown or not.
    """

    conditions: tuple[tuple[int, str], ...]
    variants: tuple[tuple[int, str], ...]
    condition: int
    variant: int
    learning: tuple[Chart, ...]
    learning_legend: tuple[LegendEntry, ...]
    norms: tuple[Chart, ...]
    norm_legend: tuple[LegendEntry, ...]
    n_layers: int


def page(answer: Answer, study: Study, records: Sequence[Record] = ()) -> str:
    """Return the whole report as HTML, as :func:`render` makes it.

    Sections without data are left out: without records there are no learning curves and no norms by layer, without layers there is
    no drawing of the network.

    Args:
        answer: What the statistics say.
        study: What was asked.
        records: The runs behind the answer; empty where they were made elsewhere.

    Raises:
        MissingExtraError: jinja2 or plotly is not installed.
    """
    charts, context = _context(answer, study, records)
    return render("page.html.j2", charts, **context)


def _context(answer: Answer, study: Study, records: Sequence[Record]) -> tuple[list[Chart], dict[str, Any]]:
    sections = {
        "strength": strengths.strength_charts(answer, study),
        "difference": differences.difference_charts(answer, study),
        "gain": gains.condition_charts(answer, study),
        "stopping": gains.stopping_charts(answer, study),
    }
    training = _training(answer, study, records)
    charts = [chart for section in sections.values() for chart in section]
    charts += [*training.learning, *training.norms] if training else []
    metrics = headline_metrics(answer, study.primary_metric)
    return charts, {
        "answer": answer,
        "study": study,
        "question": words.question(answer, study),
        "facts": words.facts(answer, study),
        "tally": words.tally(answer, study),
        "settings": words.settings(study),
        "estimand": words.estimand(answer, study),
        "margin": words.margin_words(study),
        "scales": [scale_of(answer, metric) for metric in metrics],
        "level": level_of(answer),
        "tables": tables_of(answer, study),
        "failures": failures(records),
        "sections": sections,
        "strength_legend": strengths.strength_legend(answer, study),
        "gain_legend": gains.gain_legend(answer, study),
        "stoppings": gains.stoppings(answer, study),
        "stopping_lines": gains.stopping_lines(answer, study),
        "training": training,
        "drawing": network.draw(study.layers),
        "penalty_words": network.penalty_words,
    }


def tables_of(answer: Answer, study: Study) -> list[Table]:
    """Return one table a condition, with the metrics that people look at."""
    metrics = headline_metrics(answer, study.primary_metric)
    return [_table(answer, condition, metrics) for condition in answer.conditions]


def _table(answer: Answer, condition: Condition, metrics: tuple[str, ...]) -> Table:
    lines = lines_of(answer, condition, metrics)
    return Table(caption_of(answer, condition), lines, any(line.norm != NOTHING for line in lines))


def _training(answer: Answer, study: Study, records: Sequence[Record]) -> Training | None:
    done = curves.done_runs(answer, records)
    if not done:
        return None
    condition, variant = curves.first_choice(answer, done)
    return Training(
        conditions=tuple((place, answer.conditions[place].name) for place in sorted({place for place, _ in done})),
        variants=tuple((place, answer.variants[place].name) for place in sorted({place for _, place in done})),
        condition=condition,
        variant=variant,
        learning=curves.learning_charts(answer, done),
        learning_legend=(LegendEntry(answer.base.name, style(0, 0)), LegendEntry("the chosen variant", style(1, 0))),
        norms=curves.norm_charts(answer, study, done),
        norm_legend=gains.variant_legend(answer, study),
        n_layers=curves.n_layers(done),
    )
