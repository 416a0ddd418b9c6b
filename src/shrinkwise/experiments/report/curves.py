"""The charts of what happened while training: learning curves, and the norms of weights layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from shrinkwise.experiments.records import Condition, Record, Status, Variant
from shrinkwise.experiments.report.chart import Chart, Trace, axis_layout, band, line, text
from shrinkwise.experiments.report.formats import norm_text, scale_of
from shrinkwise.experiments.report.styles import Style, style, variant_styles
from shrinkwise.experiments.stats.answer import Answer, Finding
from shrinkwise.experiments.study import Study

_MOST_LAYERS = 6
_LARGEST_RATIO_OF_A_LINEAR_AXIS = 20.0
Groups = Mapping[tuple[int, int], Sequence[Record]]


def done_runs(answer: Answer, records: Sequence[Record]) -> Groups:
    """Return the records of runs that are done by the places of their condition and variant in the answer, where there are any."""
    conditions = {condition: place for place, condition in enumerate(answer.conditions)}
    variants = {variant: place for place, variant in enumerate(answer.variants)}
    found: dict[tuple[int, int], list[Record]] = {}
    for record in records:
        key = record.key
        if record.status is Status.DONE and key.condition in conditions and key.variant in variants:
            found.setdefault((conditions[key.condition], variants[key.variant]), []).append(record)
    return found


def first_choice(answer: Answer, done: Groups) -> tuple[int, int]:
    """Return the places of the condition and variant to show first: what helps on most seeds, else the first variant that ran."""
    helping = [each for each in answer.comparisons if each.finding is Finding.HELPS]
    for each in sorted(helping, key=lambda each: -each.share_won):
        place = answer.conditions.index(each.condition), answer.variants.index(each.variant)
        if place in done:
            return place
    base = answer.variants.index(answer.base)
    return next((place for place in done if place[1] != base), next(iter(done)))


def learning_charts(answer: Answer, done: Groups) -> tuple[Chart, ...]:
    """Return one chart a metric with training and validation curves of the chosen variant beside the base's, by condition."""
    names = dict.fromkeys(name for runs in done.values() for name in runs[0].curves)
    metrics = dict.fromkeys(name.split("_", 1)[1] for name in names if name.startswith(("train_", "val_")))
    base = answer.variants.index(answer.base)
    charts = []
    for number, metric in enumerate(metrics):
        scale = scale_of(answer, metric)
        choices = {}
        for condition, variant in done:
            traces = _learning_traces(done[condition, variant], metric, style(1, 0), scale.factor, answer.variants[variant])
            if variant == base:
                traces = ()
            if (condition, base) in done:
                traces = (*_learning_traces(done[condition, base], metric, style(0, 0), scale.factor, answer.base), *traces)
            choices[f"{condition}-{variant}"] = traces
        layout = {"xaxis": axis_layout("epoch", zeroline=False), "yaxis": axis_layout(scale.title, zeroline=False)}
        parts = " and ".join(
            words for prefix, words in (("train", "training"), ("val", "validation")) if f"{prefix}_{metric}" in names
        )
        alt = f"{metric} on {parts} rows after each epoch, mean over seeds, of the chosen variant and of {answer.base.name}."
        charts.append(Chart(f"learning-{number}", f"{metric} ({parts})", alt, layout, choices=choices, height=340))
    return tuple(charts)


def norm_charts(answer: Answer, study: Study, done: Groups) -> tuple[Chart, ...]:
    """Return one chart a layer with the norm of its weights over epochs, a line a variant; chosen is the condition.

    Of a network with more than six layers with norms, six are shown, evenly from first to last.
    """
    layers = list(dict.fromkeys(name for runs in done.values() for name in runs[0].weight_norms))
    styles = variant_styles(answer, study)
    charts = []
    for number, layer in enumerate(_some(layers)):
        choices: dict[str, tuple[Trace, ...]] = {}
        values: list[float] = []
        for place, condition in enumerate(answer.conditions):
            means = {
                v: _mean([run.weight_norms.get(layer, ()) for run in done.get((place, v), ())]) for v in range(len(answer.variants))
            }
            known = {v: mean for v, mean in means.items() if len(mean)}
            values += [float(value) for mean in known.values() for value in mean]
            choices[str(place)] = tuple(
                _norm_trace(mean, answer.variants[v], styles[answer.variants[v]], condition) for v, mean in known.items()
            )
        layout = {
            "xaxis": axis_layout("epoch", zeroline=False),
            "yaxis": axis_layout("‖W‖", zeroline=False) | _norm_axis(values),
        }
        alt = f"Euclidean norm of the weights of layer {layer} after each epoch, mean over seeds, a line for each variant."
        charts.append(Chart(f"norm-{number}", layer, alt, layout, choices=choices, height=300))
    return tuple(charts)


def n_layers(done: Groups) -> int:
    """Return the number of layers whose norms are known."""
    return len({name for runs in done.values() for name in runs[0].weight_norms})


def _learning_traces(runs: Sequence[Record], metric: str, look: Style, factor: float, variant: Variant) -> tuple[Trace, ...]:
    traces: list[Trace] = []
    for part, words in (("train", "training"), ("val", "validation")):
        curves = [run.curves[f"{part}_{metric}"] for run in runs if f"{part}_{metric}" in run.curves]
        if not curves:
            continue
        centre, std = factor * _mean(curves), factor * _std(curves)
        mean = _floats(centre)
        epochs = list(range(1, len(mean) + 1))
        hover = [f"{text(variant.name)}, {words}<br>epoch {epoch}: {value:.4g}" for epoch, value in zip(epochs, mean, strict=True)]
        if len(curves) > 1:
            traces.append(band(epochs, _floats(centre - std), _floats(centre + std), look.colour))
        traces.append(line(epochs, mean, look, hover, is_faint=part == "train"))
    return tuple(traces)


def _norm_trace(mean: np.ndarray, variant: Variant, look: Style, condition: Condition) -> Trace:
    name = f"{text(variant.name)}<br>{text(condition.name)}"
    return line(
        range(len(mean)), _floats(mean), look, [f"{name}<br>epoch {epoch}: {norm_text(value)}" for epoch, value in enumerate(mean)]
    )


def _norm_axis(values: list[float]) -> dict[str, object]:
    """Return a logarithmic axis where norms differ by much, else one that starts at zero."""
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    if positive and max(positive) > _LARGEST_RATIO_OF_A_LINEAR_AXIS * min(positive):
        return {"type": "log", "dtick": 1}
    return {"rangemode": "tozero"}


def _mean(curves: Sequence[Sequence[float]]) -> np.ndarray:
    return np.mean(_stacked(curves), axis=0) if len(curves) else np.zeros(0)


def _std(curves: Sequence[Sequence[float]]) -> np.ndarray:
    return np.std(_stacked(curves), axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(curves[0]))


def _stacked(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """Return curves as an array ``(run, epoch)``, cut to the shortest: runs that someone stopped early stand beside whole ones."""
    shortest = min(len(curve) for curve in curves)
    return np.array([curve[:shortest] for curve in curves], dtype=float)


def _floats(values: np.ndarray) -> list[float]:
    return [float(value) for value in values]


def _some(layers: list[str]) -> list[str]:
    if len(layers) <= _MOST_LAYERS:
        return layers
    return [layers[round(place)] for place in np.linspace(0, len(layers) - 1, _MOST_LAYERS)]
