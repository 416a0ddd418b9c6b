"""λ chosen by full-length runs, spread over the seeds, where the curve could still have its least loss.

No λ is ever judged by early epochs: a stronger penalty learns more slowly and wins late. Runs are chosen in rounds, so that those
of a round can be trained side by side; all runs of a seed share split, starting weights and order of batches, so that what differs
between them is what their settings do. Where the next ones go is drawn from the belief of where the best lies (Thompson, 1933).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from shrinkwise.errors import SettingError
from shrinkwise.experiments.records import Condition, RunKey, Variant
from shrinkwise.experiments.selection.belief import Belief, believe
from shrinkwise.experiments.selection.choice import Choice, Seen, Step, TrainMany
from shrinkwise.experiments.selection.choosing import conclude
from shrinkwise.experiments.selection.objective import Objective
from shrinkwise.experiments.selection.space import Space
from shrinkwise.experiments.selection.stopping import Stop, why_stop
from shrinkwise.seeding import numpy_generator

_LEAST_BUDGET = 3
_RUNS_PER_SEED = 4
_FIRST_RUNS = 8
_EDGE = 0.25
"""Share of the belief that the best lies at the end of the range, from which on the range is extended."""
_MOST_EXTENSIONS = 3
_GOLDEN = 0.6180339887498949


def search(  # noqa: PLR0913  what trains, among what, by what; and how far
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
    """Choose λ by full-length runs.

    Asked again with the same arguments and a ``train_many`` that gives the same records, it asks for the same runs.

    Args:
        train_many: Trains runs.
        space: What may be chosen.
        objective: What is minimised.
        seeds: Seeds that may be used; with a small budget only the first few are, so that each has several runs.
        budget: Most trainings in all, from 3.
        condition: What the data are like.
        rule: ``minimum``, or ``one-se``: the largest λ within one standard error of it.
        margin: What counts as no difference: a share of the loss (0.02 if left out); of accuracy, f1, auc and r2 in their own unit
            (0.005).
        on_step: Called after each round.

    Raises:
        SettingError: There is no seed, or the budget is too small to show a curve.
        TrainingError: No run ended well.
    """
    if not seeds or budget < _LEAST_BUDGET:
        raise SettingError(
            f"{len(seeds)} seed(s) and a budget of {budget}",
            f"a curve over λ takes a seed and {_LEAST_BUDGET} trainings at least",
            f"give such as {_RUNS_PER_SEED} trainings for each of 8 seeds",
        )
    looking = _Looking(train_many, space, objective, tuple(seeds[: n_seeds_of(budget)]), condition or Condition(), margin)
    wanted, why = looking.first(budget), "a first look: strengths spread over the seeds"
    stop: Stop | None = None
    belief: Belief | None = None
    while wanted:
        looking.train(wanted)
        belief = looking.belief()
        step = _step(wanted, why, belief)
        looking.path.append(step)
        if on_step:
            on_step(step)
        left = budget - len(looking.seen)
        if left <= 0:
            break
        if belief is not None:
            stop = why_stop(belief, looking.default)
            if stop is Stop.NARROW and looking.edge(belief) is not None:
                stop = None  # narrow at the end of the range: what lies beyond it is not known
        if stop is not None:
            break
        wanted, why = looking.next(belief, left)
    return conclude("search", belief, looking.seen, looking.path, objective, stop=stop, rule=rule)


def n_seeds_of(budget: int) -> int:
    """Return how many seeds a search uses, where it has as many: each has about four runs.

    >>> n_seeds_of(5), n_seeds_of(30), n_seeds_of(32)
    (1, 8, 8)
    """
    return max(1, round(budget / _RUNS_PER_SEED))


class _Looking:
    """A search under way: what may be chosen, what was seen, and the path."""

    def __init__(
        self,
        train_many: TrainMany,
        space: Space,
        objective: Objective,
        seeds: tuple[int, ...],
        condition: Condition,
        margin: float | None,
    ) -> None:
        self.train_many, self.space, self.objective, self.seeds, self.condition = train_many, space, objective, seeds, condition
        self.margin = margin
        self.seen: list[Seen] = []
        self.path: list[Step] = []
        self.n_extensions = 0

    @property
    def default(self) -> Variant:
        return self.space.default_variant

    def train(self, wanted: Sequence[tuple[Variant, int]]) -> None:
        records = self.train_many([RunKey(variant, self.condition, seed) for variant, seed in wanted])
        self.seen += [self.objective.see(record) for record in records]

    def belief(self) -> Belief | None:
        """Return what the runs so far say; the draws depend on their number alone, not on how the search came here."""
        # What is minimised may be known only once runs are there, and what counts as no difference with it.
        margin = self.objective.margin(self.margin)
        return believe(self.space, self.seen, margin, numpy_generator("belief", len(self.seen)))

    def first(self, budget: int) -> list[tuple[Variant, int]]:
        """Spread the first runs evenly over the range, two a seed and those far apart; the default is among them.

        Seeds that have no run yet are the first to have one in the next round, where more is known.
        """
        lams, combinations = self.space.lams()[1:], self.space.combinations()
        enough = round(_FIRST_RUNS * math.sqrt(len(combinations)))
        n = enough if budget >= 1.5 * enough else max(_LEAST_BUDGET, budget // 2)
        n_seeds = max(1, min(len(self.seeds), n // 2))
        runs: list[tuple[Variant, int]] = []
        for k in range(n):
            place = round((k + 0.5) / n * (len(lams) - 1))
            others = combinations[int(k * _GOLDEN * len(combinations)) % len(combinations)]
            runs.append((self.space.variant(lams[place], **others), self.seeds[k % n_seeds]))
        return _with_default(runs, self.default, self.space)

    def next(self, belief: Belief | None, left: int) -> tuple[list[tuple[Variant, int]], str]:
        """Choose as many runs as there are seeds, each for the seed with the fewest, where the best may lie.

        Several are drawn from the belief, which spreads them; that of a single seed goes where it is expected to improve most on
        the best.
        """
        if belief is None:
            return self.after_failure(left), "nothing ended well yet: the weakest strengths"
        if (up := self.edge(belief)) is not None:
            self.space = self.space.extended(up=up)
            self.n_extensions += 1
            belief = self.belief() or belief
        rng = numpy_generator("search", len(self.seen))
        asked = {(run.variant, run.seed) for run in self.seen}
        wanted: list[tuple[Variant, int]] = []
        for _ in range(min(left, len(self.seeds))):
            counts = Counter(seed for _, seed in asked)
            seed = min(self.seeds, key=lambda seed: counts[seed])
            free = [k for k, variant in enumerate(belief.variants) if (variant, seed) not in asked]
            if not free:
                break
            setting = belief.likely_best(free, rng) if len(self.seeds) > 1 else belief.most_improving(free)
            wanted.append((belief.variants[setting], seed))
            asked.add(wanted[-1])
        low, high = belief.interval()
        return wanted, f"where the least loss may lie: {low:.2g} to {high:.2g}"

    def edge(self, belief: Belief) -> bool | None:
        """Say whether the range should reach further up (True) or down (False); None where neither, or not allowed.

        It should where the best of the curve lies at that end, and not by ignorance alone: a flat curve has its best anywhere.
        """
        if self.n_extensions >= _MOST_EXTENSIONS:
            return None
        lams = np.array([belief.lam(int(setting)) for setting in belief.posterior.best_of_draws()])
        best, space = belief.lam(belief.best), self.space
        if best >= space.high and space.may_grow(up=True) and (lams >= space.high).mean() > _EDGE:
            return True
        at_low = (lams > 0) & (lams <= space.low)
        return False if 0 < best <= space.low and space.may_grow(up=False) and at_low.mean() > _EDGE else None

    def after_failure(self, left: int) -> list[tuple[Variant, int]]:
        """Try the weakest strengths, on the first seed, where nothing ended well; where they end no better, λ is not to blame."""
        tried, weakest = {run.variant for run in self.seen}, self.space.lams()[:2]
        variants = [self.space.variant(lam, **others) for others in self.space.combinations() for lam in weakest]
        return [(variant, self.seeds[0]) for variant in variants if variant not in tried][:left]


def _with_default(runs: list[tuple[Variant, int]], default: Variant, space: Space) -> list[tuple[Variant, int]]:
    """Put the default into the place of the run next to it, for one seed in four: the gain is measured against it."""
    n = max(1, round(len({seed for _, seed in runs}) / 4))
    places = [math.log10(space.low + space.lam_of(variant)) for variant in (default, *(variant for variant, _ in runs))]
    nearest = sorted(range(len(runs)), key=lambda k: abs(places[k + 1] - places[0]))
    seeds: set[int] = set()
    for k in nearest:
        if len(seeds) < n and runs[k][1] not in seeds:
            seeds.add(runs[k][1])
            runs[k] = (default, runs[k][1])
    return list(dict.fromkeys(runs))


def _step(wanted: Sequence[tuple[Variant, int]], why: str, belief: Belief | None) -> Step:
    if belief is None:
        return Step(tuple(wanted), float("nan"), float("nan"), float("nan"), why)
    return Step(tuple(wanted), belief.lam(belief.best), *belief.interval(), why)
