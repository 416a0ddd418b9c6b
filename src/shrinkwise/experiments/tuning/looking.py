"""What the networks of a choice say of their layers: a report beside the choice, which it never changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy import stats

from shrinkwise.errors import MissingExtraError, ModelError, SettingError
from shrinkwise.experiments.records import Record, Status
from shrinkwise.experiments.selection import Cost, LayerSensitivity, Space
from shrinkwise.experiments.selection.choosing import cost_of
from shrinkwise.experiments.selection.curvature.network import curvlinops
from shrinkwise.experiments.selection.curvature.sensitivity import UNCLEAR
from shrinkwise.experiments.selection.sweep import grid_of
from shrinkwise.experiments.stats.words import counted
from shrinkwise.experiments.tuning.asked import read_count
from shrinkwise.experiments.tuning.subject import Subject
from shrinkwise.experiments.tuning.tuned import Tuned

N_LOOKED_AT = 2
LEAST_SEARCH = 8
"""Trainings that must be left for the choice itself."""
_FEW = 5
"""Seeds under which the share of advice that is chance is said."""


@dataclass(frozen=True)
class Look:
    """How the choice is to be looked into.

    Attributes:
        seeds: Seeds of the networks; none where nothing is looked at.
        note: Why nothing is looked at, where that was expected; else empty.
        is_verified: Whether clear advice is put to the test afterwards.
    """

    seeds: tuple[int, ...] = ()
    note: str = ""
    is_verified: bool = False


def read_look(layers: int | None, seeds: Sequence[int], *, is_verified: bool) -> Look:
    """Return how many networks a user wants to be looked into, two if left out.

    Raises:
        SettingError: That is no number of seeds, or of more than there are; or advice is to be verified and none is given.
    """
    if layers is None:
        return Look(tuple(seeds[:N_LOOKED_AT]), is_verified=is_verified)
    n = read_count("layers", layers)
    if n > len(seeds):
        raise SettingError(f"layers is {n}", f"it counts seeds, of which there are {len(seeds)}", f"give at most {len(seeds)}")
    if is_verified and not n:
        raise SettingError(
            "verify is asked for and layers is 0", "what is verified is the advice on layers", "leave one of the two out"
        )
    return Look(tuple(seeds[:n]), is_verified=is_verified)


def afforded(look: Look, subject: Subject, space: Space, method: str, budget: int, n_seeds: int) -> Look:
    """Return the look that can be had: none, and why, of a function, without curvlinops, or out of too small a budget.

    Args:
        look: What is wanted.
        subject: What is tuned.
        space: What may be chosen.
        method: How it is chosen.
        budget: Most trainings of choice and look together.
        n_seeds: Seeds of the choice.
    """
    if not look.seeds:
        return look
    if subject.networks(space.default_variant) is None:
        return Look(note="Layers were not looked at: a training function shows no network.")
    try:
        curvlinops()
    except MissingExtraError as error:
        return Look(note=f"Layers were not looked at: {error.fact}; {error.mend}.")
    n = len(look.seeds)
    if not _leaves_enough(space, method, budget - n, n_seeds):
        return Look(
            note=f"Layers were not looked at: {counted(n, 'network')} for that would leave {max(budget - n, 0)} of "
            f"{counted(budget, 'training')}, too few to choose by."
        )
    return look


def look_at_choice(tuned: Tuned, subject: Subject, look: Look) -> Tuned:
    """Train the choice once more, a network a seed, and return what was tuned with what they say of each layer.

    Args:
        tuned: What was chosen.
        subject: What is tuned.
        look: From :func:`afforded`.
    """
    networks = subject.networks(tuned.variant)
    if not look.seeds or networks is None:
        return tuned.noted(look.note) if look.note else tuned
    records: list[Record] = []
    started = time.perf_counter()
    try:
        layers, sensitivities = networks.look(look.seeds, records.append)
    except ModelError as error:
        tuned = replace(tuned, layers_cost=_cost(tuned, records, started))
        return tuned.noted(f"Layers were not looked at: {error.fact}; {error.cause}.")
    tuned = replace(tuned, layers_cost=_cost(tuned, records, started))
    if not layers:
        return tuned.noted("Layers were not looked at: no network of the choice ended well when it was trained once more.")
    tuned = replace(tuned, layers=subject.told(layers, tuned.choice), sensitivities=sensitivities)
    if not look.is_verified:
        return tuned.noted(*_chance(sensitivities))
    if not _clear(sensitivities):
        return tuned.noted("No layer has a clear direction: there was no advice to verify, and no further network was trained.")
    before = {record.key.seed: record for record in records if record.status is Status.DONE}
    after: list[Record] = []
    started = time.perf_counter()
    verified = networks.verify(look.seeds, sensitivities, before, after.append)
    return replace(tuned, sensitivities=verified, verification_cost=_cost(tuned, after, started)).noted(*_chance(verified))


def _leaves_enough(space: Space, method: str, left: int, n_seeds: int) -> bool:
    if method == "prior":
        return left >= 0
    if method == "sweep":
        try:
            grid_of(space, left // n_seeds)
        except SettingError:
            return False
    return left >= LEAST_SEARCH


def _clear(sensitivities: Sequence[LayerSensitivity]) -> list[LayerSensitivity]:
    return [layer for layer in sensitivities if layer.advice != UNCLEAR]


def _chance(sensitivities: Sequence[LayerSensitivity]) -> tuple[str, ...]:
    """Say how much of advice from few seeds is chance: two standard errors are then soon reached."""
    clear = _clear(sensitivities)
    n = min((layer.n for layer in clear), default=_FEW)
    if n >= _FEW:
        return ()
    share = 2 * float(stats.t.sf(2.0, n - 1))
    return (
        f"The advice on layers is that of {counted(n, 'seed')}: {100 * share:.0f} % of layers that want neither more nor less "
        "would get some, too; more seeds (layers=8, --layers 8) tell.",
    )


def _cost(tuned: Tuned, records: Sequence[Record], started: float) -> Cost:
    """Return what runs and looking into them cost."""
    return replace(cost_of([tuned.objective.see(record) for record in records]), seconds=time.perf_counter() - started)
