"""`sw.tune` of a digits-sized network, libraries imported, against three single-loop trainings for each of its seeds, in turns.

python benchmarks/fleet/tune.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from fleet.commands import RESULTS, SEEDS, TRAININGS, loop_seconds

import shrinkwise as sw
from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.models import MLPFactory


def tune_seconds(layers: bool) -> float:
    """Return the seconds of a tuning, with or without the look at the layers that comes after the choice."""
    experiment = sw.Experiment(
        model=MLPFactory(64, (32,), 5),
        data=sw.data.digits(classes=range(5)),
        conditions=[{"label_noise": 0.2}],
        optimizer=NamedOptimizer("sgd", 0.05),
        epochs=100,
    )
    begun = time.perf_counter()
    sw.tune(experiment, around=0.001, seeds=SEEDS, layers=None if layers else 0, progress=False)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    tune_seconds(layers=True)
    rows = [(loop_seconds(), tune_seconds(layers=False), tune_seconds(layers=True)) for _ in range(given.rounds)]
    loop, bare, whole = (np.median([row[i] for row in rows]) for i in range(3))
    shares = [np.median([row[i] / row[0] for row in rows]) for i in (1, 2)]
    text = (
        f"{TRAININGS} single-loop trainings for each of {SEEDS} seeds take {loop:.1f} s. `sw.tune` takes {bare:.1f} s, "
        f"{shares[0]:.2f} of it; with the look at the layers that follows {whole:.1f} s, {shares[1]:.2f} of it. "
        f"Medians of {given.rounds} rounds."
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "tune.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
