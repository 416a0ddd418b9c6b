"""What the page says in sentences: the facts, the settings, and what exactly is estimated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from shrinkwise.experiments.report.document import n_seeds
from shrinkwise.experiments.report.formats import SYMBOLS, count, headline_metrics, percent
from shrinkwise.experiments.report.lines import level_of
from shrinkwise.experiments.report.table import caption_of
from shrinkwise.experiments.stats.answer import Answer, Finding
from shrinkwise.experiments.stats.metric import metric_of
from shrinkwise.experiments.stats.uncertainty import AS_GIVEN, CROSSED, OVERLAP_BY_SIZES
from shrinkwise.experiments.stats.words import listed
from shrinkwise.experiments.study import Study

COLLAPSED = (
    "A run collapsed when its training loss ended within 5 % of the best constant predictor's; one of a training function, when"
    " none of ten or more values that it reported was lower than that."
)
"""What it means that a run learned nothing."""


def facts(answer: Answer, study: Study) -> tuple[tuple[str, str], ...]:
    """Return the few facts that a reader needs first, as ``(name, value)``; what is unknown is left out."""
    rows = " / ".join(f"{n:,}" for n in (study.n_train, study.n_val, study.n_test)) if study.n_train and study.n_test else ""
    runs = sum(sum(row.status.values()) for row in answer.rows)
    found = (
        ("data", study.data),
        (
            "task",
            f"{study.task}, {count(len(study.classes), 'class').replace('classs', 'classes')}" if study.classes else study.task,
        ),
        ("train / validation / test rows", rows),
        ("runs", f"{runs:,} ({count(n_seeds(answer), 'seed')})"),
        ("judged by", f"{study.primary_metric} on test rows" if study.n_test else study.primary_metric),
        ("compared against", answer.base.name),
    )
    return tuple(fact for fact in found if fact[1])


def tally(answer: Answer, study: Study) -> tuple[tuple[str, tuple[tuple[Finding, str], ...]], ...]:
    """Return, for each condition, how many variants came to which finding, such as ``▲ 2 help``."""
    verbs = {Finding.HELPS: ("helps", "help"), Finding.HURTS: ("hurts", "hurt")}
    lines = []
    for condition in answer.conditions:
        found = [each for each in answer.comparisons if each.condition == condition and each.metric == study.primary_metric]
        mine = [each.finding for each in found]
        parts = []
        for finding in Finding:
            if n := mine.count(finding):
                verb = verbs.get(finding, (finding.value, finding.value))[0 if n == 1 else 1]
                parts.append((finding, f"{SYMBOLS[finding]} {n} {verb}"))
        if parts:
            lines.append((caption_of(answer, condition), tuple(parts)))
    return tuple(lines)


def settings(study: Study) -> tuple[tuple[str, str], ...]:
    """Return every setting as ``(name, value)``; what is unknown is left out."""
    selects = {"last": "weights of the last epoch", "best-val": "weights of the epoch of best validation loss"}
    found: list[tuple[str, object]] = [
        ("data", study.data),
        ("task", study.task),
        ("classes", ", ".join(study.classes)),
        ("training rows", f"{study.n_train:,}" if study.n_train else ""),
        ("validation rows", f"{study.n_val:,}" if study.n_val else ""),
        ("test rows", f"{study.n_test:,}" if study.n_test else ""),
        ("unit of λ", study.unit or ""),
        ("decay", study.decay or ""),
        ("epochs", study.epochs or ""),
        ("judged", selects.get(study.select, study.select) if study.epochs else ""),
        ("margin of equivalence", margin_words(study)),
        *((name.replace("_", " "), value) for name, value in study.settings.items()),
        ("Shrinkwise", study.version),
    ]
    return tuple((name, _shown(value)) for name, value in found if value not in ("", None, ()))


def margin_words(study: Study) -> str:
    """Say what counts as equivalent, in the unit in which differences are written.

    >>> from shrinkwise.experiments.study import Study
    >>> margin_words(Study("d", "classification", (), 0, 0, 0, False, None, None, None, "accuracy", "last", 0.005, False))
    '0.5 points of accuracy'
    """
    if study.is_margin_relative:
        return f"{percent(study.margin)} of the base's {study.primary_metric}"
    metric = metric_of(study.primary_metric)
    return " ".join(f"{metric.factor * study.margin:g} {metric.difference_unit} of {metric.name}".split())


def estimand(answer: Answer, study: Study) -> tuple[str, ...]:
    """Return what is estimated and how, a sentence each."""
    methods = _methods(answer, [study.primary_metric])
    knows_rows = any(CROSSED in method or OVERLAP_BY_SIZES in method for method in methods)
    finite = f" and the finite test set of {study.n_test:,} rows" if study.n_test and knows_rows else ""
    noise = ", label noise" if any(condition.label_noise for condition in answer.conditions) else ""
    chance = f"the seeds' randomness (split, initial weights, order of batches{noise})" if study.epochs else "what the seeds vary"
    sentences = [
        f"Estimated is the mean difference in {study.primary_metric} between a variant and {answer.base.name} on new data of this"
        f" kind, over {chance}{finite}.",
        "Runs are paired: for one seed all variants are given the same chances, so that what they share cancels in the difference.",
    ]
    sentences += _on_test_rows(answer, study)
    if methods:
        sentences.append(f"Intervals cover with probability {level_of(answer)}; method: {'; '.join(methods)}.")
    sentences.append(
        "p values are adjusted by Holm's method over all variants of one condition, on the primary metric alone. A variant is"
        f" equivalent where its interval lies within ± {margin_words(study)}, even if p is small; else it helps or hurts where the"
        " adjusted p is under 0.05; else the comparison is inconclusive, which is not the same as no difference."
    )
    if any(row.collapsed for row in answer.rows):
        sentences.append(COLLAPSED)
    return tuple(sentences)


def _on_test_rows(answer: Answer, study: Study) -> list[str]:
    """Say how the test rows went into the intervals of the table's metrics, as their methods have it."""
    metrics = headline_metrics(answer, study.primary_metric)
    ways = {
        CROSSED: "what the rows that seeds share add to the variance is estimated row by row (crossed random effects)",
        OVERLAP_BY_SIZES: "the variance is corrected for the overlap by the sizes of the parts (Nadeau and Bengio 2003)",
        AS_GIVEN: "the test set is taken as given: what other test rows would show is not in the interval",
    }
    by_way = {way: [each for each in metrics if any(way in method for method in _methods(answer, [each]))] for way in ways}
    said = []
    if study.is_resampled:
        said.append("Every seed cuts its own test rows out of one data set, so that the test rows of different seeds overlap.")
    elif by_way[CROSSED]:
        said.append("All seeds are tested on the same rows.")
    return said + [f"For {listed(names)}, {ways[way]}." for way, names in by_way.items() if names]


def _methods(answer: Answer, metrics: Iterable[str]) -> list[str]:
    """Return how the intervals of the differences in some metrics were made, each way once."""
    found = [each.difference for each in answer.comparisons if each.metric in metrics]
    return list(dict.fromkeys(each.method for each in found if each.method and math.isfinite(each.low)))


def question(answer: Answer, study: Study) -> str:
    """Return what the experiment asks: the title of the page."""
    names = dict.fromkeys(name for variant in answer.variants for name in variant)
    return f"{study.data}: does {' or '.join(names)} help {study.primary_metric}?"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_shown(item) for item in value)
    return str(value)
