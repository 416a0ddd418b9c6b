"""From 8 to 1,024 runs of 784-128-5 in one process: time a step and run, and the most memory, under a bound on it.

    python benchmarks/fleet/growth.py [--memory 500MB] [--counts 8,32,128,512,1024]

Each count is a process of its own; its peak is the operating system's. The bound is on what the fleets take beyond what the process
holds before the first of them: data, libraries, results.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from environment import describe

RESULTS = Path(__file__).parents[1] / "results" / "fleet_growth"
N_TRAIN, EPOCHS, VARIANTS = 1024, 5, 8


def train(n_runs: int, memory: str) -> dict[str, float]:
    """Train so many runs, and return what they took."""
    from fleet.workloads import mnist

    import shrinkwise as sw
    from shrinkwise.experiments.engine import NamedOptimizer
    from shrinkwise.experiments.models import MLPFactory

    experiment = sw.Experiment(
        model=MLPFactory(784, (128,), 5),
        data=mnist(),
        variants=sw.grid(l2=[0, 1e-3, 1e-2, 1e-1], dropout=[0, 0.5]),
        conditions=[{"train_size": N_TRAIN}],
        optimizer=NamedOptimizer("sgd", 0.05, 0.9),
        epochs=EPOCHS,
        seeds=n_runs // VARIANTS,
        engine="fleet",
        threads=2,
        memory=memory,
    )
    plan = experiment.plan
    before = _peak_bytes()
    begun = time.perf_counter()
    result = experiment.run(jobs=1, progress=False)
    seconds = time.perf_counter() - begun
    steps = EPOCHS * -(-N_TRAIN // 64)
    assert len(result.records) == n_runs == len(plan.runs())
    return {"n_runs": n_runs, "us": 1e6 * seconds / steps / n_runs, "before_mb": before / 2**20, "peak_mb": _peak_bytes() / 2**20}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", default="500MB")
    parser.add_argument("--counts", default="8,32,128,512,1024")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(train(given.one, given.memory)))
        return
    rows = []
    for count in map(int, given.counts.split(",")):
        command = [sys.executable, __file__, "--memory", given.memory, "--one", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    least = min(row["us"] for row in rows)
    text = [
        "| runs | µs a step and run, whole work | times the best | peak memory, MiB | above what stood before, MiB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        peak, more = row["peak_mb"], row["peak_mb"] - row["before_mb"]
        text.append(f"| {row['n_runs']} | {row['us']:.0f} | {row['us'] / least:.2f} | {peak:.0f} | {more:.0f} |")
    text.append(f"\n784-128-5, MNIST 0-4, {N_TRAIN} rows, {EPOCHS} epochs, one process with two threads, memory={given.memory!r}.")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "table.md").write_text("\n".join(text) + "\n")
    (RESULTS / "rows.json").write_text(json.dumps(rows, indent=1) + "\n")
    (RESULTS / "environment.json").write_text(json.dumps(describe(), indent=2) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
