"""λ chosen by a grid: every λ with every seed, and the least mean."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from shrinkwise.errors import SettingError
from shrinkwise.experiments.records import Condition, RunKey, Variant
from shrinkwise.experiments.selection.belief import believe
from shrinkwise.experiments.selection.choice import Choice, Seen, Step, TrainMany
from shrinkwise.experiments.selection.choosing import conclude
from shrinkwise.experiments.selection.objective import Objective
from shrinkwise.experiments.selection.space import Space
from shrinkwise.seeding import numpy_generator


def sweep(  # noqa: PLR0913  what trains, among what, by what; and how far
    train_many: TrainMany,
    space: Space,
    objective: Objective,
    *,
    seeds: Sequence[int],
    budget: int,
    condition: Condition | None = None,
    rule: str = "minimum",
    margin: float | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Choice:
    """Train every variant of a grid with every seed, and take the one with the least mean loss; its interval is that of a search.

    Args:
        train_many: Trains runs.
        space: What may be chosen.
        objective: What is minimised.
        seeds: Seeds; every one of them is used.
        budget: Most trainings in all: so many λs, evenly spread, as every seed can have.
        condition: What the data are like.
        rule: ``minimum``, or ``one-se``: the largest λ within one standard error of it.
        margin: What counts as no difference: a share of the loss (0.02 if left out); of accuracy, f1, auc and r2 in their own unit
            (0.005).
        on_step: Called when all is trained.

    Raises:
        SettingError: There is no seed, or the budget is too small for three variants with every seed.
        TrainingError: No run ended well.
    """
    variants = grid_of(space, budget // len(seeds) if seeds else 0)
    wanted = [(variant, seed) for seed in seeds for variant in variants]
    records = train_many([RunKey(variant, condition or Condition(), seed) for variant, seed in wanted])
    seen = [objective.see(record) for record in records]
    belief = believe(space, seen, objective.margin(margin), numpy_generator("belief", len(seen)))
    best = _least_mean(seen, len(seeds))
    path: list[Step] = []
    if belief is not None:
        low, high = belief.interval()
        path.append(Step(tuple(wanted), space.lam_of(best or belief.variants[belief.best]), low, high, "the whole grid"))
        if on_step:
            on_step(path[0])
    return conclude("sweep", belief, seen, path, objective, stop=None, rule=rule, best=best)


def grid_of(space: Space, n_variants: int) -> list[Variant]:
    """Return the variants of a grid: for each combination of other settings the default, none, and λs evenly spread.

    Raises:
        SettingError: There is no room for three.
    """
    combinations = space.combinations()
    n = n_variants // len(combinations)
    lams = space.lams()
    kept = sorted({0.0, space.default})
    if n < max(3, len(kept) + 1):
        raise SettingError(
            f"the budget gives each seed {n_variants} trainings",
            f"a grid takes at least three strengths with each of {len(combinations)} combination(s) of other settings",
            "raise the budget, take fewer seeds, or take method search",
        )
    places = np.linspace(1, len(lams) - 1, n - len(kept)) if n - len(kept) > 1 else np.array([len(lams) // 2])
    spread = sorted({*kept, *(lams[round(place)] for place in places)})
    return [space.variant(lam, **others) for others in combinations for lam in spread]


def _least_mean(seen: Sequence[Seen], n_seeds: int) -> Variant | None:
    """Return the variant with the least mean loss among those with which every seed ended well."""
    losses: dict[Variant, list[float]] = defaultdict(list)
    for run in seen:
        if math.isfinite(run.loss):
            losses[run.variant].append(run.loss)
    whole = {variant: float(np.mean(values)) for variant, values in losses.items() if len(values) == n_seeds}
    return min(whole, key=whole.__getitem__) if whole else None
