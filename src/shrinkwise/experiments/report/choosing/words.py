"""A choice in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shrinkwise.experiments.records import Setting, Variant, short
from shrinkwise.experiments.report.choosing.confirmed import Confirmed, unconfirmed_text
from shrinkwise.experiments.report.choosing.view import counted_status, others_of
from shrinkwise.experiments.report.formats import NOTHING, count
from shrinkwise.experiments.report.words import COLLAPSED
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    from shrinkwise.experiments.selection.choice import Choice, Cost

_METHODS = {
    "search": "full-length runs, spread over the seeds, where the curve could still have its best",
    "sweep": "the same strengths for every seed",
    "evidence": "strengths layer by layer from the Laplace evidence, times one factor that was searched",
    "prior": "known scaling, without any training",
}
IN_BUDGET = "of the budget"


def question(choice: Choice, study: Study) -> str:
    """Return what was asked: the title of the page."""
    what = "L2" if choice.name == "l2" else choice.name
    return f"{study.data}: how strong should {what} be?"


def sentence(choice: Choice, confirmation: Confirmed | None = None) -> str:
    """Say the choice in a sentence: as a guess where it is within noise, as best on validation rows alone where not confirmed."""
    beside = "".join(f" with {name} = {short(value)}" for name, value in searched_others(choice).items())
    chosen = f"{choice.name} = {lam_text(choice.lam)}{beside}"
    interval = f"90 % interval of the best: {interval_text(choice.low, choice.high)}"
    if unconfirmed := unconfirmed_text(confirmation):
        return f"Best on validation rows is {chosen}, which {unconfirmed}; {interval}."
    if not choice.is_beyond_noise:
        return f"Best guess: {chosen}, not beyond noise; {interval}."
    return f"{'Keep' if choice.keeps_default else 'Take'} {chosen}; {interval}."


def reason(choice: Choice) -> str:
    """Say why, as whole sentences."""
    return choice.reason if choice.reason.endswith((".", "!", "?")) else f"{choice.reason}."


def searched_others(choice: Choice) -> dict[str, Setting]:
    """Return the chosen values of the other settings that were searched."""
    names = {name for settings, _ in choice.curves for name in settings}
    return {name: value for name, value in others_of(choice, choice.variant).items() if name in names}


def lam_text(lam: float) -> str:
    """Write a strength as it is read, to three digits.

    >>> lam_text(0.0), lam_text(0.012345), lam_text(float("nan"))
    ('0', '0.0123', '–')
    """
    return f"{lam:.3g}" if math.isfinite(lam) else NOTHING


def interval_text(low: float, high: float) -> str:
    """Write an interval of strengths.

    >>> interval_text(0.0, 0.031), interval_text(0.0, 0.0)
    ('0 to 0.031', 'no penalty')
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return NOTHING
    return "no penalty" if low == high == 0 else f"{lam_text(low)} to {lam_text(high)}"


def facts(choice: Choice, study: Study) -> tuple[tuple[str, str], ...]:
    """Return the few facts that a reader needs first, as ``(name, value)``; what is unknown is left out."""
    rows = " / ".join(f"{n:,}" for n in (study.n_train, study.n_val, study.n_test)) if study.n_train and study.n_test else ""
    direction = "more" if choice.is_higher_better else "less"
    found = (
        ("data", study.data),
        ("train / validation / test rows", rows),
        ("chosen by", f"{choice.metric} on validation rows ({direction} is better)"),
        ("method", choice.method),
        ("default", "" if choice.default is None else f"{choice.name} = {lam_text(choice.default)}"),
        *costs(choice),
    )
    return tuple(fact for fact in found if fact[1])


def costs(choice: Choice) -> tuple[tuple[str, str], ...]:
    """Return what the choice cost, as ``(name, value)``; what is unknown is left out."""
    cost = choice.cost
    ended = counted_status(choice.runs)
    bad = ", ".join(f"{n} {name}" for name, n in ended.items() if name != "good")
    per_seed = f"{cost.trainings_per_seed:.2g} a seed, {count(cost.seeds, 'seed')}" if cost.seeds else ""
    found = (
        ("trainings", f"{cost.trainings:,} ({'; '.join(part for part in (per_seed, bad) if part)})" if cost.trainings else "none"),
        ("sample-gradients", f"{cost.sample_gradients:,}" if cost.sample_gradients else ""),
        ("time of all runs", duration(cost.seconds)),
    )
    return tuple(fact for fact in found if fact[1])


def priced(cost: Cost | None, where: str = "on top") -> str:
    """Say what was taken beside the choice, and whether out of its budget; nothing where that is not known.

    >>> from shrinkwise.experiments.selection.choice import Cost
    >>> priced(Cost(2, 4, 0, 3.0)), priced(None)
    (' (4 trainings, 3.0 s, on top)', '')
    """
    if cost is None:
        return ""
    return f" ({', '.join(part for part in (count(cost.trainings, 'training'), duration(cost.seconds), where) if part)})"


def duration(seconds: float) -> str:
    """Write a time.

    >>> duration(0.42), duration(75), duration(7330), duration(0)
    ('0.4 s', '1 min 15 s', '2 h 2 min', '')
    """
    if not seconds:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "under 0.1 s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def meaning(choice: Choice) -> tuple[str, ...]:
    """Return what the curve, its band and the interval are, a sentence each."""
    sentences = [
        f"Looked for is the {choice.name} with the best {choice.metric} on validation rows, averaged over seeds; test rows had no"
        " part in it.",
        f"Method: {_METHODS.get(choice.method, choice.method)}.",
    ]
    if choice.curve:
        sentences += [
            "The curve is one for all seeds: runs of one seed share split, initial weights and order of batches, and what a seed"
            " adds to all its runs is taken out. The band covers it with probability 95 % at each λ.",
            "The interval holds the λ of the best with probability 90 %, as far as these validation rows can tell.",
        ]
    if choice.path:
        sentences.append("No λ was judged by early epochs: a stronger penalty learns more slowly and wins late.")
    if any(run.is_bad for run in choice.runs):
        sentences.append(COLLAPSED)
    return tuple(sentences)


def runs_text(choice: Choice, runs: Sequence[tuple[Variant, int]]) -> str:
    """Write the runs of a round: each λ with its seeds, and the other settings where they were searched.

    >>> from shrinkwise.experiments.selection.choice import Choice, Cost
    >>> choice = Choice("search", Variant(l2=0), 0, "half", 0, 0, "", False, False, (), Cost(1, 1, 0, 0.0))
    >>> runs_text(choice, [(Variant(l2=0.1), 1), (Variant(l2=0), 0), (Variant(l2=0.1), 2)])
    '0 (seed 0), 0.1 (seeds 1, 2)'
    """
    names = searched_others(choice)
    seeds: dict[Variant, list[int]] = {}
    for variant, seed in sorted(runs, key=lambda run: (float(run[0][choice.name]), run[1])):
        seeds.setdefault(variant, []).append(seed)
    said = []
    for variant, found in seeds.items():
        beside = "".join(f", {name} {short(variant[name])}" for name in names if name in variant)
        said.append(
            f"{lam_text(float(variant[choice.name]))}{beside} (seed{'s' if len(found) > 1 else ''} {', '.join(map(str, found))})"
        )
    return ", ".join(said)
