"""A choice as one JSON document, in the fields that others may rely on."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shrinkwise.experiments.records import Setting, Variant
from shrinkwise.experiments.report.choosing.confirmed import Confirmed
from shrinkwise.experiments.report.choosing.view import lam_of, others_of, own_value
from shrinkwise.experiments.report.document import number, study_document, to_document
from shrinkwise.experiments.stats.two_models import TwoModels
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    from shrinkwise.experiments.selection.choice import Choice, Cost, CurvePoint, Seen, Step
    from shrinkwise.experiments.selection.layers import LayerSensitivity, LayerStrength, VerifiedStep

CURVE_COLUMNS = ("lam", "loss", "low", "high")


def choice_document(
    choice: Choice,
    study: Study,
    *,
    confirmation: Confirmed | None = None,
    two_models: TwoModels | None = None,
    layers: Sequence[LayerStrength] = (),
    sensitivities: Sequence[LayerSensitivity] = (),
    prices: Mapping[str, Cost] | None = None,
) -> dict[str, Any]:
    """Return a choice as nested dictionaries, lists and plain scalars, ready for ``json.dumps(..., allow_nan=False)``.

    λ is in the user's unit, which ``choice.unit`` names. Losses, the curve's and the runs', are values of the metric that
    ``choice.metric`` names, in its own unit and sign. What is not a finite number becomes None.

    Args:
        choice: The choice.
        study: What was asked.
        confirmation: The comparison with the default on fresh seeds, where it was made.
        two_models: The same of one run each, over test rows alone.
        layers: What the evidence says of each layer.
        sensitivities: How the loss answers to the strength of each layer.
        prices: What was spent apart from the choice: on ``layers`` (out of its budget), on ``verification`` of the advice on them,
            and on ``confirmation``.

    Returns:
        The fields ``choice``, ``curve`` and ``cost``; beside them ``experiment``, ``runs``, ``path``, ``curves`` (by other
        settings), ``layers`` (strengths in the user's unit; ``chosen`` is None where the choice is one λ for all),
        ``sensitivities``, ``layers_cost``, ``verification_cost``, ``confirmation`` (as ``compare`` gives it, or None),
        ``two_models``, ``confirmation_cost`` and ``notes``.
    """
    spent = prices or {}
    return {
        "choice": {
            "lam": number(choice.lam),
            "unit": choice.unit,
            "low": number(choice.low),
            "high": number(choice.high),
            "reason": choice.reason,
            "at_boundary": choice.at_boundary,
            "keeps_default": choice.keeps_default,
            "is_beyond_noise": choice.is_beyond_noise,
            "default": number(choice.default),
            "name": choice.name,
            "settings": _settings(choice.variant),
            "metric": choice.metric,
            "is_higher_better": choice.is_higher_better,
            "method": choice.method,
        },
        "curve": _curve(choice, choice.curve),
        "cost": _cost(choice.cost),
        "experiment": study_document(study),
        "runs": [_run(choice, run) for run in choice.runs],
        "path": [_step(step) for step in choice.path],
        "curves": [{"settings": _settings(others), "curve": _curve(choice, points)} for others, points in choice.curves],
        "layers": [
            {
                "name": each.name,
                "n": each.n,
                "effective": number(each.effective),
                "lam": number(each.lam),
                "chosen": number(each.chosen),
                "why_left_out": each.why_left_out,
            }
            for each in layers
        ],
        "sensitivities": [
            {
                "name": each.name,
                "slope": number(each.slope),
                "error": number(each.error),
                "n": each.n,
                "advice": each.advice,
                "verified": None if each.verified is None else _verified(each.verified),
            }
            for each in sensitivities
        ],
        "layers_cost": _price(spent.get("layers")),
        "verification_cost": _price(spent.get("verification")),
        "confirmation": None if confirmation is None else to_document(confirmation.answer, confirmation.study),
        "two_models": None if two_models is None else _two(two_models),
        "confirmation_cost": _price(spent.get("confirmation")),
        "notes": list(choice.notes),
    }


def curve_csv(choice: Choice) -> str:
    """Return the curve as CSV text, numbers in full: other settings where searched, ``lam``, ``loss``, ``low``, ``high``."""
    names = list(dict.fromkeys(name for others, _ in choice.curves for name in others))
    curves = choice.curves or ((Variant(**others_of(choice, choice.variant)), choice.curve),)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*names, *CURVE_COLUMNS])
    for others, points in curves:
        for point in _curve(choice, points):
            table.writerow([*(others[name] for name in names), *(point[column] for column in CURVE_COLUMNS)])
    return text.getvalue()


def _curve(choice: Choice, points: Sequence[CurvePoint]) -> list[dict[str, float | None]]:
    found = []
    for point in points:
        low, high = sorted((own_value(choice, point.low), own_value(choice, point.high)))
        found.append(
            {"lam": number(point.lam), "loss": number(own_value(choice, point.loss)), "low": number(low), "high": number(high)}
        )
    return found


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "seeds": cost.seeds,
        "trainings": cost.trainings,
        "trainings_per_seed": number(cost.trainings_per_seed),
        "sample_gradients": cost.sample_gradients,
        "seconds": number(cost.seconds),
    }


def _price(cost: Cost | None) -> dict[str, Any] | None:
    return None if cost is None else _cost(cost)


def _verified(step: VerifiedStep) -> dict[str, Any]:
    return {
        "factor": step.factor,
        "change": number(step.change),
        "error": number(step.error),
        "n": step.n,
        "is_borne_out": step.is_borne_out,
    }


def _two(two: TwoModels) -> dict[str, Any]:
    found = two.difference
    difference = {"point": number(found.point), "low": number(found.low), "high": number(found.high), "level": found.level}
    return {"metric": two.metric, "difference": difference | {"n": found.n, "method": found.method}, "sentence": two.sentence}


def _run(choice: Choice, run: Seen) -> dict[str, Any]:
    return {
        "lam": number(lam_of(choice, run.variant)),
        "settings": _settings(run.variant),
        "seed": run.seed,
        "loss": number(own_value(choice, run.loss)),
        "status": run.status.value,
        "collapsed": run.is_collapsed,
        "sample_gradients": run.n_gradients,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "runs": [{"settings": _settings(variant), "seed": seed} for variant, seed in step.runs],
        "best": number(step.best),
        "low": number(step.low),
        "high": number(step.high),
        "why": step.why,
    }


def _settings(settings: Mapping[str, Setting]) -> dict[str, Setting | None]:
    return {name: number(value) if isinstance(value, float) else value for name, value in settings.items()}
