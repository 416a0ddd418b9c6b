"""The bare training step of 784-128-5 in a fleet, against what its arithmetic takes at the best rate that any library here reaches.

    python benchmarks/fleet/step.py [--rounds 9] [--threads 2]

Every round times, one after another, the matrix products of a step alone (the two of the first layer, which are 99 % of the
arithmetic, in torch, NumPy and JAX, over a few widths) and an epoch of whole steps of a fleet. No input is silent in these data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from environment import describe

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import NamedOptimizer, Recipe
from shrinkwise.experiments.engine.fleet import training
from shrinkwise.experiments.engine.fleet.fleet import train_fleet
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, RunKey, Variant
from shrinkwise.seeding import numpy_generator

N_IN, N_HIDDEN, N_OUT, BATCH, N_STEPS = 784, 128, 5, 64, 64
FLOPS = 2 * 2 * BATCH * N_IN * N_HIDDEN + 3 * 2 * BATCH * N_HIDDEN * N_OUT
"""Arithmetic of one step of one network: the first layer forward and backward, the second forward and twice backward."""
RESULTS = Path(__file__).parents[1] / "results" / "fleet_step"


def quickest(call: Callable[[], object], n: int = 20) -> float:
    """Return the least seconds of a call."""
    times = []
    for _ in range(n):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)


def product_rates(n_runs: int) -> dict[str, float]:
    """Return the best rate of each library on the shapes of a step, in FLOP a second: both products together."""
    import jax

    rng = numpy_generator("step")
    w, x, d = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((n_runs * N_HIDDEN, N_IN), (BATCH, N_IN), (n_runs * N_HIDDEN, BATCH))
    )
    tw, tx, td = map(torch.from_numpy, (w, x, d))
    h, g = torch.empty(len(w), BATCH), torch.empty_like(tw)
    bw, bd, bh, bg = (each.view(n_runs, N_HIDDEN, -1) for each in (tw, td, h, g))
    bx = tx.expand(n_runs, -1, -1)
    nh, ng = np.empty((len(w), BATCH), np.float32), np.empty_like(w)
    jw, jx, jd = map(jax.numpy.asarray, (w, x, d))
    forward, backward = jax.jit(lambda w, x: w @ x.T), jax.jit(lambda d, x: d @ x)
    flops = 2 * 2 * BATCH * N_IN * N_HIDDEN * n_runs
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "torch": (lambda: torch.mm(tw, tx.t(), out=h), lambda: torch.mm(td, tx, out=g)),
        "torch, batched": (lambda: torch.bmm(bw, bx.transpose(1, 2), out=bh), lambda: torch.bmm(bd, bx, out=bg)),
        "numpy": (lambda: np.matmul(w, x.T, out=nh), lambda: np.matmul(d, x, out=ng)),
        "jax": (lambda: forward(jw, jx).block_until_ready(), lambda: backward(jd, jx).block_until_ready()),
    }
    return {name: flops / (quickest(one) + quickest(other)) for name, (one, other) in pairs.items()}


def step_seconds(n_runs: int, threads: int) -> float:
    """Return the seconds of a step of one network in a fleet of so many, the least of a few epochs; half of them with dropout."""
    rng = numpy_generator("step", "rows")
    x, y = rng.random((BATCH * N_STEPS, N_IN)).astype(np.float32), rng.integers(N_OUT, size=BATCH * N_STEPS)
    few = np.arange(BATCH)
    split = Split(x, y, x[:BATCH], y[:BATCH], x[:BATCH], y[:BATCH], np.arange(len(y)), few, few)
    runs = [(split, RunKey(Variant(l2=0.001 * i, dropout=0.5 * (i % 2)), Condition(), 0)) for i in range(n_runs)]
    optimizer = NamedOptimizer("sgd", 0.05, 0.9)
    recipe = Recipe(MLPFactory(N_IN, (N_HIDDEN,), N_OUT), "classification", N_OUT, optimizer, 4, BATCH, threads=threads)
    seen: list[float] = []
    whole = training.Fleet._train_epoch

    def timed(fleet: training.Fleet) -> None:
        begun = time.perf_counter()
        whole(fleet)
        seen.append(time.perf_counter() - begun)

    training.Fleet._train_epoch = timed  # type: ignore[method-assign]
    try:
        list(train_fleet(recipe, runs))
    finally:
        training.Fleet._train_epoch = whole  # type: ignore[method-assign]
    return min(seen) / N_STEPS / n_runs


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rounds = []
    for _ in range(given.rounds):
        rates = {f"{name}, {n_runs} wide": rate for n_runs in (1, 4, 8, 16) for name, rate in product_rates(n_runs).items()}
        best = max(rates, key=lambda name: rates[name])
        rounds.append(
            {
                "limit_us": 1e6 * FLOPS / rates[best],
                "by": best,
                "step_us": {n: 1e6 * step_seconds(n, given.threads) for n in (8, 16)},
            }
        )
    limits = [row["limit_us"] for row in rounds]
    text = [
        "| fleet of | µs a step and network | limit by arithmetic, µs | share of the limit reached [least, most] |",
        "|---|---|---|---|",
    ]
    for n in (8, 16):
        steps = [row["step_us"][n] for row in rounds]
        shares = sorted(limit / step for limit, step in zip(limits, steps, strict=True))
        share, least, most = np.median(shares), shares[0], shares[-1]
        text.append(f"| {n} | {np.median(steps):.0f} | {np.median(limits):.0f} | {share:.2f} [{least:.2f}, {most:.2f}] |")
    text.append(f"\n784-128-5, batch {BATCH}, {given.threads} threads in one process, {given.rounds} rounds.")
    text.append(f"The best rate was that of {rounds[-1]['by']} in the last.")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "table.md").write_text("\n".join(text) + "\n")
    (RESULTS / "rows.json").write_text(json.dumps(rounds, indent=1) + "\n")
    (RESULTS / "environment.json").write_text(json.dumps(describe(), indent=2) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
