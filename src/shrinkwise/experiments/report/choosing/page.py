"""A choice as one HTML page that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shrinkwise.experiments.report import words as compared_words
from shrinkwise.experiments.report.choosing import charts, layers, path, words
from shrinkwise.experiments.report.choosing.confirmed import Confirmed, comparison_of, confirmed_text
from shrinkwise.experiments.report.choosing.view import choice_view, fate
from shrinkwise.experiments.report.formats import SYMBOLS, headline_metrics, scale_of
from shrinkwise.experiments.report.html import render
from shrinkwise.experiments.report.lines import level_of
from shrinkwise.experiments.report.page import tables_of
from shrinkwise.experiments.stats.two_models import TwoModels
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    from shrinkwise.experiments.selection.choice import Choice, Cost
    from shrinkwise.experiments.selection.layers import LayerSensitivity, LayerStrength


def choice_page(
    choice: Choice,
    study: Study,
    *,
    confirmation: Confirmed | None = None,
    two_models: TwoModels | None = None,
    layers: Sequence[LayerStrength] = (),
    sensitivities: Sequence[LayerSensitivity] = (),
    prices: Mapping[str, Cost] | None = None,
) -> str:
    """Return the whole report of a choice as HTML, as :func:`render` makes it.

    Sections without data are left out: without trainings there is no curve, without a confirmation nothing is compared.

    Args:
        choice: The choice.
        study: What was asked.
        confirmation: The comparison with the default on fresh seeds, where it was made.
        two_models: The same of one run each, over test rows alone.
        layers: What the evidence says of each layer.
        sensitivities: How the loss answers to the strength of each layer.
        prices: What was spent apart from the choice: on ``layers`` (out of its budget), on ``verification`` of the advice on them,
            and on ``confirmation``.

    Raises:
        MissingExtraError: jinja2 or plotly is not installed.
    """
    view, spent = choice_view(choice), prices or {}
    sections = {
        "curve": charts.curve_charts(view) if view else (),
        "others": charts.other_charts(view) if view else (),
        "path": path.path_charts(view) if view else (),
    }
    legends = {
        "curve": charts.curve_legend(view) if view else (),
        "seeds": charts.seed_legend(view) if view else (),
        "others": charts.other_legend(view) if view else (),
        "path": path.path_legend(),
    }
    return render(
        "choice.html.j2",
        [chart for section in sections.values() for chart in section],
        choice=choice,
        study=study,
        question=words.question(choice, study),
        sentence=words.sentence(choice, confirmation),
        reason=words.reason(choice),
        facts=words.facts(choice, study),
        meaning=words.meaning(choice),
        settings=compared_words.settings(study),
        sections=sections,
        legends=legends,
        bad=" or ".join(fates) if (fates := sorted({fate(run) for run in view.runs if run.is_bad} if view else ())) else "",
        steps=_steps(choice),
        confirmed=_confirmed(confirmation),
        two_models=two_models,
        price=words.priced(spent.get("confirmation")),
        prices={
            "layers": words.priced(spent.get("layers"), words.IN_BUDGET),
            "verification": words.priced(spent.get("verification")),
        },
        **_layers(layers, sensitivities),
    )


def _steps(choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "n": len(step.runs),
            "runs": words.runs_text(choice, step.runs),
            "best": words.lam_text(step.best),
            "interval": words.interval_text(step.low, step.high),
            "why": step.why,
        }
        for number, step in enumerate(choice.path, 1)
    ]


def _confirmed(confirmation: Confirmed | None) -> dict[str, Any] | None:
    if confirmation is None:
        return None
    answer, study = confirmation.answer, confirmation.study
    found = comparison_of(confirmation)
    return {
        "answer": answer,
        "finding": found.finding if found else None,
        "chip": f"{SYMBOLS[found.finding]} {confirmed_text(found)}" if found else "nothing could be compared",
        "tables": tables_of(answer, study),
        "scales": [scale_of(answer, metric) for metric in headline_metrics(answer, study.primary_metric)],
        "level": level_of(answer),
        "margin": compared_words.margin_words(study),
        "estimand": compared_words.estimand(answer, study),
    }


def _layers(strengths: Sequence[LayerStrength], sensitivities: Sequence[LayerSensitivity]) -> dict[str, Any]:
    return {
        "strengths": layers.strength_lines(strengths),
        "has_chosen": any(each.chosen is not None for each in strengths),
        "sensitivities": layers.sensitivity_lines(sensitivities),
        "has_verified": any(each.verified is not None for each in sensitivities),
    }
