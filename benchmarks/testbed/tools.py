"""The peers: other people's tools, each used as its own documentation shows, behind one small face.

Needs the packages of `requirements.txt`, and no torch. Where a tool has a default and a common alternative, both take part, and
`score.py` gives every tool its better setting, looked up in the truth.
"""

from __future__ import annotations

import datetime
import logging
import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from table import HIGH, LOW, generator


class Tool(Protocol):
    """What a contest asks of a tool."""

    def suggest(self) -> float:
        """Start a trial: return its λ."""

    def goes_on(self, epoch: int, loss: float) -> bool:
        """Tell the trial's validation loss after an epoch, counted from 1; returns whether to train on."""

    def end(self, loss: float | None) -> None:
        """End the trial: its validation loss at the end of training, or None for a trial that was stopped."""

    def best(self) -> float:
        """Return the λ that the tool answers now."""


MakeTool = Callable[[int, int], Tool]
"""(epochs of a full training, seed) -> tool."""


class Random:
    """Random search, log-uniform.

    Args:
        epochs: Epochs of a full training.
        seed: Seed.
    """

    def __init__(self, epochs: int, seed: int) -> None:
        self._rng = generator("random search", seed)
        self._lam = math.nan
        self._best = (math.inf, math.nan)

    def suggest(self) -> float:
        """Start a trial."""
        self._lam = float(10 ** self._rng.uniform(math.log10(LOW), math.log10(HIGH)))
        return self._lam

    def goes_on(self, epoch: int, loss: float) -> bool:
        """Train every trial to its end."""
        return True

    def end(self, loss: float | None) -> None:
        """Keep the best."""
        if loss is not None and (loss < self._best[0] or math.isnan(self._best[1])):
            self._best = (loss, self._lam)

    def best(self) -> float:
        """Return the λ of the trial with the least final loss."""
        return self._best[1]


class Optuna:
    """An Optuna study, by ask and tell.

    Args:
        seed: Seed of its sampler.
        n_startup: Trials that TPE draws at random before it models anything.
        pruner: One of Optuna's pruners, or None.
    """

    def __init__(self, seed: int, n_startup: int, pruner: object | None = None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._pruned = optuna.trial.TrialState.PRUNED
        self._prunes = pruner is not None
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_startup),
            pruner=pruner or optuna.pruners.NopPruner(),
        )

    def suggest(self) -> float:
        """Start a trial."""
        self._trial = self._study.ask()
        return float(self._trial.suggest_float("l2", LOW, HIGH, log=True))

    def goes_on(self, epoch: int, loss: float) -> bool:
        """Ask the pruner; without one nothing is reported, which changes nothing."""
        if not self._prunes:
            return True
        self._trial.report(loss, epoch)
        return not self._trial.should_prune()

    def end(self, loss: float | None) -> None:
        """Tell the study how the trial ended."""
        if loss is None:
            self._study.tell(self._trial, state=self._pruned)
        else:
            self._study.tell(self._trial, loss)

    def best(self) -> float:
        """Return the λ of ``best_trial``: the least final loss among the trials that were not pruned."""
        return float(self._study.best_trial.params["l2"])


class SyneTune:
    """Syne Tune's ASHA, driven as its Tuner drives it with one worker.

    Args:
        epochs: Epochs of a full training.
        seed: Seed.
        grace_period: Epochs before the first rung.
        judges_ends: Whether the answer is the best of the trials that ran to the end; else it is what ``best_config`` gives, the
            trial with the least loss at any of its epochs.
    """

    def __init__(self, epochs: int, seed: int, grace_period: int, judges_ends: bool) -> None:
        from syne_tune.config_space import loguniform
        from syne_tune.optimizer.baselines import ASHA

        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        # Its random searcher takes a seed and draws from NumPy's global state all the same.
        np.random.seed(seed)  # noqa: NPY002
        self._scheduler = ASHA(
            {"l2": loguniform(LOW, HIGH)},
            metric="loss",
            time_attr="epoch",
            max_t=epochs,
            do_minimize=True,
            random_seed=seed,
            grace_period=grace_period,
        )
        self._n_trials, self._judges_ends = 0, judges_ends
        self._ends: dict[float, float] = {}
        self._least: dict[float, float] = {}

    def suggest(self) -> float:
        """Start a trial."""
        from syne_tune.backend.trial_status import Trial

        config = self._scheduler.suggest().config
        self._trial = Trial(self._n_trials, config, datetime.datetime.now(datetime.UTC))
        self._n_trials += 1
        self._scheduler.on_trial_add(self._trial)
        return float(config["l2"])

    def goes_on(self, epoch: int, loss: float) -> bool:
        """Ask the scheduler."""
        lam = self._trial.config["l2"]
        self._least[lam] = min(loss, self._least.get(lam, math.inf))
        is_on = self._scheduler.on_trial_result(self._trial, {"loss": loss, "epoch": epoch}) == "CONTINUE"
        if not is_on:
            self._scheduler.on_trial_remove(self._trial)
        return is_on

    def end(self, loss: float | None) -> None:
        """Keep how trials end."""
        if loss is not None:
            self._ends[self._trial.config["l2"]] = loss

    def best(self) -> float:
        """Return the λ of the best trial."""
        judged = self._ends if self._judges_ends and self._ends else self._least
        return min(judged, key=judged.__getitem__)


def _halving(epochs: int, seed: int) -> Optuna:
    from optuna.pruners import SuccessiveHalvingPruner

    return Optuna(seed, 10, SuccessiveHalvingPruner())


def _gentle_halving(epochs: int, seed: int) -> Optuna:
    from optuna.pruners import SuccessiveHalvingPruner

    return Optuna(seed, 10, SuccessiveHalvingPruner(min_resource=max(1, epochs // 9), reduction_factor=3))


def _hyperband(epochs: int, seed: int) -> Optuna:
    from optuna.pruners import HyperbandPruner

    return Optuna(seed, 10, HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3))


TOOLS: Mapping[str, Mapping[str, MakeTool]] = {
    "random search": {"": Random},
    "Optuna TPE": {
        "10 startup trials (default)": lambda epochs, seed: Optuna(seed, 10),
        "3 startup trials": lambda epochs, seed: Optuna(seed, 3),
    },
    "Optuna TPE, halving": {
        "SuccessiveHalvingPruner (default)": _halving,
        "SuccessiveHalvingPruner, rungs at E/9, E/3": _gentle_halving,
        "HyperbandPruner (default factor 3)": _hyperband,
    },
    "Syne Tune ASHA": {
        "grace 1 (default), best_config": lambda epochs, seed: SyneTune(epochs, seed, 1, judges_ends=False),
        "grace 1 (default), best end": lambda epochs, seed: SyneTune(epochs, seed, 1, judges_ends=True),
        "grace E/9, best_config": lambda epochs, seed: SyneTune(epochs, seed, max(1, epochs // 9), judges_ends=False),
        "grace E/9, best end": lambda epochs, seed: SyneTune(epochs, seed, max(1, epochs // 9), judges_ends=True),
    },
}
"""Tool -> setting -> what makes it."""
