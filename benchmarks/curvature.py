"""What curvature is good for, on the test bed: strengths layer by layer against one λ, and advice against retraining.

    python benchmarks/curvature.py [TASK ...]

Resumable: whatever was trained or taken lies in ``runs/curvature/``. Wants the oracle part of ``testbed/bank.py`` to have run.

(a) 32 trainings each on eight seeds: the search over one global λ; and eight networks at λ = 1e-3 to take the evidence of, then the
    search over its multiplier with the 24 that are left. Then the mean test loss over the eight seeds at what each chose, paired.
(b) At the global λ that the grid picks, and at a tenth and ten times it: the slope of each layer over eight seeds, and where it is
    clear one step, twice or half the strength of that layer, trained again: on the same eight seeds, and on 32, those among them,
    since eight leave the sign of a small change to the chaos of training.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import describe

from shrinkwise.experiments.engine import Recipe, train_model, train_one
from shrinkwise.experiments.records import Condition, Outcome, Record, RunKey, Status, Variant
from shrinkwise.experiments.selection import LayerStrength, Objective, Space, TrainMany
from shrinkwise.experiments.selection.curvature import (
    averaged,
    layer_strengths,
    multiplier_space,
    pooled,
    profile_of,
    search_multiplier,
    slopes_of_run,
)
from shrinkwise.experiments.selection.curvature.evidence import SCALE_INVARIANT
from shrinkwise.experiments.selection.search import search

sys.path.insert(0, str(Path(__file__).parent / "testbed"))

from table import HIGH, LOW, ORACLE_LAMS, ORACLE_SEEDS, REPEAT_SEEDS, STEP, read
from tasks import TASKS, Task

SCRATCH = Path("runs") / "curvature"
RESULTS = Path(__file__).parent / "results" / "curvature"
START = 1e-3
BUDGET = 32
MORE, LESS = "wants more", "wants less"
RETRAINED_SEEDS = (*ORACLE_SEEDS, *REPEAT_SEEDS)


class Kept:
    """Numbers that took long, by name, one file a task.

    Args:
        task: Name of the task.
    """

    def __init__(self, task: str) -> None:
        self.file = SCRATCH / f"{task}.jsonl"
        self.values: dict[str, Any] = {}
        for line in self.file.read_text().splitlines() if self.file.exists() else []:
            try:
                name, value = json.loads(line)
            except ValueError:
                continue  # the last line of a killed process may be half a line
            self.values[name] = value

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a value, made if need be."""
        if name not in self.values:
            self.values[name] = make()
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a") as file:
                file.write(json.dumps([name, self.values[name]]) + "\n")
        return self.values[name]


class Bench:
    """One task: its runs, and what is asked of them.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.kept = task, Kept(task.name)
        self.splits: dict[int, Any] = {}
        self.is_decoupled = getattr(task.recipe.optimizer, "decay", "coupled") == "decoupled"

    def split(self, seed: int) -> Any:
        """Return the rows of a seed."""
        if seed not in self.splits:
            self.splits[seed] = self.task.split(seed)
        return self.splits[seed]

    def run(self, name: str, recipe: Recipe, lam: float, seed: int) -> dict[str, Any]:
        """Return how a run ended; ``name`` tells recipes apart."""

        def train() -> dict[str, Any]:
            record = train_one(recipe, self.split(seed), RunKey(Variant(l2=lam), Condition(), seed))
            is_done = record.last is not None
            return {
                "status": record.status.value,
                "collapsed": record.collapsed,
                "val": record.last.val["loss"] if is_done else math.inf,
                "test": record.last.test["loss"] if is_done else math.inf,
                "seconds": record.seconds,
            }

        return self.kept.get(f"run {name} {lam:g} {seed}", train)

    def train_many(self, name: str, recipe: Recipe) -> TrainMany:
        """Return what a search trains by."""

        def train(keys: Sequence[RunKey]) -> list[Record]:
            return [_record(key, self.run(name, recipe, float(key.variant["l2"]), key.seed)) for key in keys]

        return train

    def tests(self, name: str, recipe: Recipe, lam: float) -> np.ndarray:
        """Return the test loss of each seed, shape ``(seed,)``."""
        return np.array([self.run(name, recipe, lam, seed)["test"] for seed in ORACLE_SEEDS])

    def layers(self) -> tuple[LayerStrength, ...]:
        """Return what the evidence of the eight networks at the start says."""

        def take(seed: int) -> dict[str, Any]:
            split = self.split(seed)
            model, record = train_model(self.task.recipe, split, RunKey(Variant(l2=START), Condition(), seed))
            started = time.perf_counter()
            rows = torch.from_numpy(split.x_train), torch.from_numpy(split.y_train)
            exact_or_not = {
                method: [asdict(layer) for layer in layer_strengths(model, *rows, self.task.recipe.task, method=method)]
                for method in ("auto", "kfac")
            }
            return exact_or_not | {"seconds": time.perf_counter() - started, "train_seconds": record.seconds}

        found = [self.kept.get(f"evidence {seed}", lambda seed=seed: take(seed)) for seed in ORACLE_SEEDS]
        return averaged([[LayerStrength(**layer) for layer in each["auto"]] for each in found])

    def k_fac_deviation(self) -> float:
        """Return by how much K-FAC's effective number of parameters is off the exact one at worst; NaN where none is exact."""
        gaps = []
        for seed in ORACLE_SEEDS:
            found = self.kept.values[f"evidence {seed}"]
            for exact, other in zip(found["auto"], found["kfac"], strict=True):
                if exact["effective"] != other["effective"] and exact["effective"] and not math.isnan(other["effective"]):
                    gaps.append(abs(other["effective"] / exact["effective"] - 1))
        return max(gaps, default=math.nan)

    def contest(self) -> dict[str, Any]:
        """Let the evidence and one global λ meet at equal budget."""
        recipe, layers = self.task.recipe, self.layers()
        profile = profile_of(layers, is_relative=self.is_decoupled)
        profiled = replace(recipe, profile=profile)
        space = Space(low=LOW, high=HIGH, step=STEP, is_low_fixed=True, is_high_fixed=True)
        one = search(self.train_many("global", recipe), space, Objective(), seeds=ORACLE_SEEDS, budget=BUDGET)
        each = search_multiplier(
            self.train_many("profile", profiled),
            Objective(),
            seeds=ORACLE_SEEDS,
            budget=BUDGET - len(ORACLE_SEEDS),
            space=space if self.is_decoupled else multiplier_space(),
        )
        by_one, by_each = self.tests("global", recipe, one.lam), self.tests("profile", profiled, each.lam)
        difference = by_each - by_one
        error = float(difference.std(ddof=1) / math.sqrt(len(difference)))
        change = float(difference.mean())
        return {
            "task": self.task.name,
            "global": one.lam,
            "multiplier": each.lam,
            "profile": profile,
            "left_out": [layer.name for layer in layers if layer.lam is None],
            "effective": {layer.name: layer.effective for layer in layers},
            "k_fac_deviation": self.k_fac_deviation(),
            "test_global": float(by_one.mean()),
            "test_evidence": float(by_each.mean()),
            "change": change,
            "error": error,
            "outcome": "win" if change < -2 * error else "lose" if change > 2 * error else "tie",
        }

    def advice(self) -> list[dict[str, Any]]:
        """Compare advice and retraining at three strengths."""
        bank = read(self.task.name)
        best = min(ORACLE_LAMS[1:], key=lambda lam: np.mean([bank[lam, s].loss for s in ORACLE_SEEDS]))
        return [line for factor in (0.1, 1.0, 10.0) for line in self._advice_at(float(f"{best * factor:.6g}"))]

    def _advice_at(self, lam: float) -> list[dict[str, Any]]:
        recipe = self.task.recipe

        def slopes(seed: int) -> dict[str, float]:
            split = self.split(seed)
            model, record = train_model(recipe, split, RunKey(Variant(l2=lam), Condition(), seed))
            return slopes_of_run(recipe, split, model, record) if record.status is Status.DONE else {}

        found = [self.kept.get(f"slopes {lam:g} {seed}", lambda seed=seed: slopes(seed)) for seed in ORACLE_SEEDS]
        passed_over = {layer.name for layer in self.layers() if layer.why_left_out == SCALE_INVARIANT}
        lines = []
        for layer in pooled([each for each in found if each]):
            if layer.advice not in (MORE, LESS) or layer.name in passed_over:
                continue
            even = dict.fromkeys(found[0], 1.0)
            factor = 2.0 if layer.advice == MORE else 0.5
            stepped = replace(recipe, profile=even | {layer.name: factor})
            pairs = [
                (self.run(f"step {layer.name} {factor:g}", stepped, lam, s)["val"], self.run("global", recipe, lam, s)["val"])
                for s in RETRAINED_SEEDS
            ]
            changes = np.array([after - before for after, before in pairs])
            few, changes = (each[np.isfinite(each)] for each in (changes[: len(ORACLE_SEEDS)], changes))
            lines.append(
                {
                    "task": self.task.name,
                    "lam": lam,
                    "layer": layer.name,
                    "slope": layer.slope,
                    "t": layer.slope / layer.error,
                    "advice": layer.advice,
                    "change": float(changes.mean()),
                    "error": float(changes.std(ddof=1) / math.sqrt(len(changes))),
                    "agrees": bool(changes.mean() < 0),
                    "agrees_on_eight": bool(few.mean() < 0),
                }
            )
        return lines


def _record(key: RunKey, run: Mapping[str, Any]) -> Record:
    is_done = run["status"] == "done"
    last = Outcome(1, {"loss": run["val"]}, {"loss": run["test"]}) if is_done else None
    return Record(
        key=key,
        status=Status(run["status"]),
        lam=float(key.variant["l2"]),
        n_train=1,
        n_val=1,
        n_test=1,
        curves={"train_loss": (float(run["collapsed"]),)},
        weight_norms={},
        constant_loss=1.0,
        last=last,
        best_val=last,
        test_rows=np.zeros(0, dtype=np.int64),
        seconds=run["seconds"],
        threads=1,
    )


def play(name: str) -> tuple[dict[str, Any], list[dict[str, Any]], float]:
    """Play both parts on one task; returns their lines and the seconds that it took."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    bench = Bench(TASKS[name]())
    contest, advice = bench.contest(), bench.advice()
    return contest, advice, time.perf_counter() - started


def write(contests: Sequence[Mapping[str, Any]], advice: Sequence[Mapping[str, Any]]) -> None:
    """Write both tables."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "rows.json").write_text(json.dumps({"contests": contests, "advice": advice}, indent=1) + "\n")
    lines = [
        "| task | one λ | multiplier | test loss, one λ | by layer | change ± SE | | K-FAC against exact γ, worst |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for c in contests:
        deviation = "-" if math.isnan(c["k_fac_deviation"]) else f"{100 * c['k_fac_deviation']:.0f} %"
        lines.append(
            f"| {c['task']} | {c['global']:.3g} | {c['multiplier']:.3g} | {c['test_global']:.4f} | {c['test_evidence']:.4f} "
            f"| {c['change']:+.4f} ± {c['error']:.4f} | {c['outcome']} | {deviation} |"
        )
    outcomes = [c["outcome"] for c in contests]
    lines += ["", f"By layer against one λ: {', '.join(f'{outcomes.count(word)} {word}' for word in ('win', 'tie', 'lose'))}.", ""]
    lines += ["| task | λ | layer | slope | t | advice | change of the step ± SE | agrees |", "|---|---|---|---|---|---|---|---|"]
    lines += [
        f"| {a['task']} | {a['lam']:.3g} | {a['layer']} | {a['slope']:+.4f} | {a['t']:+.1f} | {a['advice']} "
        f"| {a['change']:+.5f} ± {a['error']:.5f} | {'yes' if a['agrees'] else 'no'} |"
        for a in advice
    ]
    n_agreeing, n_seeds = sum(a["agrees"] for a in advice), len(RETRAINED_SEEDS)
    lines += ["", f"Signs that agree where |t| > 2, retrained on {n_seeds} seeds: {n_agreeing} of {len(advice)};"]
    lines += [f"on the eight seeds of the slopes: {sum(a['agrees_on_eight'] for a in advice)} of {len(advice)}.", ""]
    clear = [a for a in advice if abs(a["change"]) > 2 * a["error"]]
    agreeing = sum(a["agrees"] for a in clear)
    lines += [f"Of those, where the retrained change is itself more than two standard errors: {agreeing} of {len(clear)}.", ""]
    (RESULTS / "table.md").write_text("\n".join(lines))
    (RESULTS / "environment.json").write_text(json.dumps(describe(), indent=2) + "\n")


def main() -> None:
    """Play every task, one process a core, or the named ones here."""
    import importlib

    from loky import ProcessPoolExecutor

    names = sys.argv[1:] or list(TASKS)
    work = importlib.import_module("curvature").play  # by name, so that workers import it too
    contests, advice = [], []
    with ProcessPoolExecutor(min(len(names), os.cpu_count() or 1)) as pool:
        for name, (contest, lines, seconds) in zip(names, pool.map(work, names), strict=True):
            contests.append(contest)
            advice += lines
            print(
                f"{name}: {contest['outcome']}, {sum(a['agrees'] for a in lines)} of {len(lines)} signs, {seconds:.0f} s",
                flush=True,
            )
    write(contests, advice)


if __name__ == "__main__":
    main()
