"""Whether a choice of λ holds: the choice and the default again, on seeds that played no part in choosing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from shrinkwise.experiments.describe import by_means
from shrinkwise.experiments.execution import Growing
from shrinkwise.experiments.records import Record, RunKey, Status, short
from shrinkwise.experiments.result import Result
from shrinkwise.experiments.selection import Space
from shrinkwise.experiments.selection.choosing import cost_of
from shrinkwise.experiments.stats.measuring import by_row
from shrinkwise.experiments.stats.two_models import TwoModels, two_models
from shrinkwise.experiments.stats.words import counted
from shrinkwise.experiments.study import Study
from shrinkwise.experiments.tuning.subject import Subject
from shrinkwise.experiments.tuning.tuned import Tuned

NOTHING_TO_CONFIRM = "The choice is the default: there was nothing to confirm, and no further run was trained."


def confirm_choice(tuned: Tuned, subject: Subject, space: Space, growing: Growing, seeds: Sequence[int]) -> Tuned:
    """Train the choice and the default on fresh seeds, and return what was tuned with the verdict on them.

    Selecting flatters the winner on the seeds that it was selected by; on these it has no such advantage.

    Args:
        tuned: What was chosen.
        subject: What is tuned.
        space: Says what the default is.
        growing: Trains the runs.
        seeds: Fresh ones. With a single one the interval is over test rows.
    """
    choice, base = tuned.choice, space.default_variant
    if choice.variant == base:
        return tuned.noted(NOTHING_TO_CONFIRM)
    keys = [RunKey(variant, subject.condition, seed) for seed in seeds for variant in (base, choice.variant)]
    records = growing(keys)
    study = by_means(subject.study(len(seeds)), growing.means)
    result = Result(study=study, records=tuple(records), base=base, maximize=subject.maximize)
    cost = cost_of([tuned.objective.see(record) for record in records])
    tuned = replace(tuned, confirmation=result, confirmation_cost=cost).noted(*_failed(records))
    if len(seeds) > 1:
        return tuned
    found = _over_rows(records, study, _named(space))
    if isinstance(found, str):
        return tuned.noted(found)
    return replace(tuned, two_models=found).noted(found.sentence)


def _failed(records: Sequence[Record]) -> Iterator[str]:
    """Say why runs of the confirmation failed, each reason once."""
    for reason, n in Counter(record.message for record in records if record.status is Status.FAILED).items():
        yield f"{n} of {counted(len(records), 'run')} on fresh seeds failed: {reason}."


def _named(space: Space) -> str:
    base = space.default_variant
    return ", ".join([f"λ={short(space.default)}", *(f"{name}={short(base[name])}" for name in space.others)])


def _over_rows(records: Sequence[Record], study: Study, name: str) -> TwoModels | str:
    """Compare the two models row by row, or say why that cannot be."""
    base, ours = records
    metric = study.primary_metric
    if any(record.status is not Status.DONE for record in records):
        return "One of the two models did not end well, so that they cannot be compared."
    theirs, own = (by_row(record.outcome(study.select)).get(metric) for record in (base, ours))
    if theirs is None or own is None or len(own) < 2:
        return f"With one run each an interval needs {metric} on each test row, which is not known here."
    return two_models(metric, own, theirs, name)
