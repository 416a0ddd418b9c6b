"""How often a tuning with confirmation says "helps" where λ makes no difference; writes ``results/error_rate/``.

    python benchmarks/error_rate.py [SHARE]      # of the numbers of experiments below; all of them if left out

Every experiment is the whole path: real trainings of a small network on scikit-learn's digits, a search with the defaults of
``tune`` (eight seeds, 32 trainings at most), and, where it does not keep the default, a confirmation on ten fresh seeds with the
verdict of ``compare``. Two kinds of nothing:

* ``reshuffled``: λ does not act, but each λ draws its own starting weights and order, as in code that does not share them. Losses
  differ by chance alone, and a search is tempted by the luckiest.
* ``too weak``: λ acts, through the optimiser, from 1e-9 to 1e-7, which moves no loss in a digit that anybody prints.

About ten minutes on two cores: two seconds for an experiment of the first kind, less than one for one of the second, 10 ms a
training. Goes on where it was stopped; experiments of another search or another verdict are made anew.
"""

from __future__ import annotations

import functools
import importlib
import inspect
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

sys.path.append(str(Path(__file__).parent / "testbed"))
import lines

RESULTS = Path(__file__).parent / "results" / "error_rate"
SCRATCH = Path(__file__).parents[1] / "runs" / "error_rate"
KINDS: Mapping[str, tuple[float, float]] = {"reshuffled": (1e-6, 1.0), "too weak": (1e-9, 1e-7)}
EXPERIMENTS: Mapping[str, int] = {"reshuffled": 500, "too weak": 100}
SEEDS, CONFIRM = 8, 10
VERDICTS = ("helps", "hurts", "equivalent", "inconclusive", "no comparison")
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


def tuned(kind: str, number: int, mark: str) -> dict[str, Any]:
    """Run one experiment, keep how it ended under a mark, and return it."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    first = derive("experiment", kind, number) % 2**31
    low, high = KINDS[kind]
    found = sw.tune(
        Train(kind),
        low=low,
        high=high,
        seeds=range(first, first + SEEDS),
        confirm=CONFIRM,
        metric=METRICS[number % 2],
        jobs=1,
        progress=False,
    )
    row = {"kind": kind, "number": number, "metric": METRICS[number % 2], "ended": ended(found, METRICS[number % 2])}
    row |= {"claims": claims(found), "lam": found.lam, "reason": found.reason}
    row |= {"trainings": found.cost.trainings, "seconds": time.perf_counter() - started}
    lines.append(_file(kind), [row], mark)
    return row


def ended(found: sw.Tuned, metric: str) -> str:
    """Return how an experiment ended: ``keep``, or what its confirmation comes to, one of :data:`VERDICTS`."""
    if found.confirmation is None:
        return "keep"
    comparisons = found.confirmation.answer.comparisons
    return next((each.finding.value for each in comparisons if each.metric == metric), "no comparison")


def claims(found: sw.Tuned) -> bool:
    """Whether the search itself, before any confirmation, says that its λ gains something beyond noise."""
    return not found.choice.keeps_default and "not beyond noise" not in found.reason


def mark_of() -> str:
    """Return the mark of an experiment: a hash of what trains, of what chooses, and of what judges."""
    inside = Path(sw.__file__).parent / "experiments"
    own = [inspect.getsource(each) for each in (Train, tuned, ended, claims)]
    settings = repr((KINDS, SEEDS, CONFIRM, METRICS, N_TRAIN, N_VAL, N_TEST))
    return lines.fingerprint(settings, *own, inside / "selection", inside / "stats", inside / "tuning")


def rows_of(kind: str, mark: str) -> list[dict[str, Any]]:
    """Return the experiments of a kind that have ended, under a mark."""
    return lines.read(_file(kind), mark)


def _file(kind: str) -> Path:
    return SCRATCH / f"{kind.replace(' ', '-')}.jsonl"


def share(k: int, n: int) -> str:
    """Say a share with its exact binomial interval (Clopper and Pearson, 1934).

    >>> share(3, 200), share(0, 0)
    ('1.5 % [0.3, 4.3]', '-')
    """
    if not n:
        return "-"
    ends = binomtest(k, n).proportion_ci(0.95, method="exact")
    return f"{100 * k / n:.1f} % [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"


def table(rows: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return the results as Markdown; intervals are exact binomial ones of 95 %."""
    out = [
        "| λ | experiments | search claims a gain beyond noise | keeps the default | confirmed | helps, of all "
        "| helps, of the confirmed | hurts | equivalent | inconclusive | no comparison |",
        "|---|---:|---|---|---:|---|---|---:|---:|---:|---:|",
    ]
    for kind, found in rows.items():
        count, n = Counter(row["ended"] for row in found), len(found)
        confirmed = n - count["keep"]
        claimed = sum(row["claims"] for row in found)
        cells = [kind, n, share(claimed, n), share(count["keep"], n), confirmed, share(count["helps"], n)]
        cells += [share(count["helps"], confirmed), *(count[name] for name in VERDICTS[1:])]
        out.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(out) + "\n"


def main() -> None:
    """Run the experiments, one process a core."""
    from loky import ProcessPoolExecutor

    part = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    numbers = {kind: range(max(1, round(part * n))) for kind, n in EXPERIMENTS.items()}
    work, mark = importlib.import_module("error_rate").tuned, mark_of()  # by name, so that workers import it too
    missing = [(kind, k) for kind in KINDS for k in sorted(set(numbers[kind]) - {row["number"] for row in rows_of(kind, mark)})]
    with ProcessPoolExecutor(os.cpu_count(), env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}) as pool:
        futures = [pool.submit(work, kind, k, mark) for kind, k in missing]
        for done, future in enumerate(futures, 1):
            row = future.result()
            if done % 50 == 0:
                print(f"{done} of {len(missing)}: {row['seconds']:.1f} s each", flush=True)
    found = {kind: [row for row in rows_of(kind, mark) if row["number"] in numbers[kind]] for kind in KINDS}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "table.md").write_text(table(found))
    seconds = sum(row["seconds"] for rows in found.values() for row in rows)
    (RESULTS / "environment.json").write_text(json.dumps({**describe(), "seconds": round(seconds)}, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
