"""How often a tuning with confirmation says "helps" where λ makes no difference; writes ``results/error_rate/``.

    python benchmarks/error_rate.py [EXPERIMENTS]

Every experiment is the whole path: real trainings of a small network on scikit-learn's digits, a search, and, where it does not
keep the default, a confirmation on ten fresh seeds with the verdict of ``compare``. Two kinds of nothing:

* ``reshuffled``: λ does not act, but each λ draws its own starting weights and order, as in code that does not share them. Losses
  differ by chance alone, and a search is tempted by the luckiest.
* ``too weak``: λ acts, through the optimiser, from 1e-9 to 1e-7, which moves no loss in a digit that anybody prints.

About ten minutes on two cores; goes on where it was stopped.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import describe
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional

import shrinkwise as sw
from shrinkwise.seeding import derive, isolated_rng, numpy_generator, torch_generator

RESULTS = Path(__file__).parent / "results" / "error_rate"
SCRATCH = Path("runs") / "error_rate"
KINDS: Mapping[str, tuple[float, float]] = {"reshuffled": (1e-6, 1.0), "too weak": (1e-9, 1e-7)}
METRICS = ("loss", "accuracy")
N_TRAIN, N_VAL, N_TEST = 150, 100, 200


@functools.cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return scikit-learn's digits 0-4."""
    data = sw.data.digits("0-4")
    return torch.as_tensor(np.asarray(data.x, dtype=np.float32)).flatten(1), torch.as_tensor(data.y)


class Train:
    """A training function in which λ makes no difference.

    Args:
        kind: Which kind of nothing.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, trial: sw.Trial) -> dict[str, Any]:
        """Train once, and return losses and accuracies on validation and test rows."""
        lam = float(trial["l2"])
        acts = self.kind == "too weak"
        own = ("training", trial.seed) if acts else ("training", trial.seed, f"{lam:.6g}")
        x, y = digits()
        rows = torch.from_numpy(numpy_generator("rows", trial.seed).permutation(len(y)))
        train, val, test = rows[: N_TRAIN + N_VAL + N_TEST].split([N_TRAIN, N_VAL, N_TEST])
        with isolated_rng(*own):
            model = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 5))
        groups = sw.param_groups(model, weight_decay=lam if acts else 0.0)
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        for epoch in range(8):
            order = torch.randperm(N_TRAIN, generator=torch_generator(*own, epoch))
            for batch in train[order].split(32):
                optimizer.zero_grad()
                functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
        found = {}
        with torch.no_grad():
            for part, held in (("val", val), ("test", test)):
                logits = model(x[held])
                found[f"{part}_loss"] = float(functional.cross_entropy(logits, y[held]))
                found[f"{part}_accuracy"] = float((logits.argmax(1) == y[held]).double().mean())
        return found


def tuned(kind: str, number: int) -> dict[str, Any]:
    """Run one experiment, and return how it ended."""
    started = time.perf_counter()
    first = derive("experiment", kind, number) % 2**31
    low, high = KINDS[kind]
    found = sw.tune(
        Train(kind),
        low=low,
        high=high,
        seeds=range(first, first + 4),
        confirm=10,
        metric=METRICS[number % 2],
        jobs=1,
        progress=False,
    )
    verdicts = [] if found.confirmation is None else found.confirmation.answer.comparisons
    ended = next((each.finding.value for each in verdicts if each.metric == METRICS[number % 2]), "keep")
    row = {"kind": kind, "number": number, "metric": METRICS[number % 2], "ended": ended, "lam": found.lam}
    row |= {"trainings": found.cost.trainings, "seconds": time.perf_counter() - started}
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with (SCRATCH / f"{kind.replace(' ', '-')}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    return row


def rows_of(kind: str) -> list[dict[str, Any]]:
    """Return the experiments of a kind that have ended."""
    file = SCRATCH / f"{kind.replace(' ', '-')}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def table(rows: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| λ | experiments | keeps the default | confirmed: helps | hurts | equivalent | inconclusive | 95 % interval of helps |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for kind, found in rows.items():
        count, n = Counter(row["ended"] for row in found), len(found)
        ends = binomtest(count["helps"], n).proportion_ci()
        cells = [f"{100 * count[name] / n:.1f} %" for name in ("keep", "helps", "hurts", "equivalent", "inconclusive")]
        lines.append(f"| {kind} | {n} | {' | '.join(cells)} | {100 * ends.low:.1f} to {100 * ends.high:.1f} % |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the experiments, one process a core."""
    from loky import ProcessPoolExecutor

    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    work = importlib.import_module("error_rate").tuned  # by name, so that workers import it too
    missing = [(kind, k) for kind in KINDS for k in sorted(set(range(n)) - {row["number"] for row in rows_of(kind)})]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done, row in enumerate(pool.map(work, *zip(*missing, strict=True)) if missing else (), 1):
            if done % 50 == 0:
                print(f"{done} of {len(missing)}: {row['seconds']:.1f} s each", flush=True)
    found = {kind: [row for row in rows_of(kind) if row["number"] < n] for kind in KINDS}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "table.md").write_text(table(found))
    seconds = sum(row["seconds"] for rows in found.values() for row in rows)
    (RESULTS / "environment.json").write_text(json.dumps({**describe(), "seconds": round(seconds)}, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
