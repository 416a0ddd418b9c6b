"""Whole commands as a user types them, with the engine that was there before and with the one that is chosen now, taking turns.

    python benchmarks/fleet/commands.py [--rounds 3] [--before FOLDER]

Before is the single loop of today (`--engine single`), or, where a folder with the sources of an earlier version is given, that
version. The tune is compared with single-loop trainings of its network, three for each of its seeds, one after another.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from environment import describe

ROOT = Path(__file__).parents[2]
MNIST = ROOT.parent / "shared" / "data" / "mnist"
RESULTS = Path(__file__).parents[1] / "results" / "fleet_commands"
COMMANDS = {
    "demo": "demo",
    "MNIST": f"compare --data {MNIST} --classes 0-4 --train-size 2000 --label-noise 0,0.2 --l2 0,0.01,0.1,1 --dropout 0,0.5 "
    "--epochs 20 --seeds 4 --hidden 128",
    "tune": "tune --data digits --classes 0-4 --label-noise 0.2 --around 0.001 --epochs 100",
}
SEEDS, TRAININGS = 8, 3


def seconds(command: str, source: Path | None, engine: str) -> float:
    """Return the seconds of a command in a fresh process and a fresh folder."""
    folder = tempfile.mkdtemp()
    environment = dict(os.environ) | ({"PYTHONPATH": str(source / "src")} if source else {})
    words = [sys.executable, "-c", "from shrinkwise.cli.main import main; main()", *command.split(), "--out", f"{folder}/out"]
    words += [] if source else ["--engine", engine]
    begun = time.perf_counter()
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    took = time.perf_counter() - begun
    shutil.rmtree(folder)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return took


def loop_seconds() -> float:
    """Return the seconds of three single-loop trainings a seed of the network that the tune trains, one after another."""
    from shrinkwise.experiments import data
    from shrinkwise.experiments.engine import NamedOptimizer, Recipe, train_one
    from shrinkwise.experiments.models import MLPFactory
    from shrinkwise.experiments.records import Condition, RunKey, Variant

    digits, condition = data.digits("0-4"), Condition(label_noise=0.2)
    recipe = Recipe(MLPFactory(64, (32,), 5), "classification", 5, NamedOptimizer("sgd", 0.05), epochs=100, batch_size=64)
    splits = [data.cut(digits, condition, seed) for seed in range(SEEDS)]
    train_one(recipe, splits[0], RunKey(Variant(l2=0.01), condition, 0))
    begun = time.perf_counter()
    for seed, split in enumerate(splits):
        for lam in (1e-4, 1e-3, 1e-2)[:TRAININGS]:
            train_one(recipe, split, RunKey(Variant(l2=lam), condition, seed))
    return time.perf_counter() - begun


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    loops = []
    for _ in range(given.rounds):
        for name, command in COMMANDS.items():
            rows[name].append((seconds(command, given.before, "single"), seconds(command, None, "auto")))
            print(name, rows[name][-1], flush=True)
        loops.append(loop_seconds())
    text = ["| command | before, s | now, s | now by before |", "|---|---|---|---|"]
    for name, pairs in rows.items():
        before, now = np.median([pair[0] for pair in pairs]), np.median([pair[1] for pair in pairs])
        text.append(f"| {name} | {before:.1f} | {now:.1f} | {np.median([pair[1] / pair[0] for pair in pairs]):.2f} |")
    shares = [pair[1] / loop for pair, loop in zip(rows["tune"], loops, strict=True)]
    share, loop_s = np.median(shares), np.median(loops)
    loop = f"{TRAININGS} single-loop trainings for each of its {SEEDS} seeds, {loop_s:.1f} s"
    text.append(f"\nThe tune takes {share:.2f} of the time of {loop}.")
    text += ["", *(f"- `shrinkwise {command.replace(str(MNIST), '../shared/data/mnist')}`" for command in COMMANDS.values())]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "table.md").write_text("\n".join(text) + "\n")
    (RESULTS / "rows.json").write_text(json.dumps({"commands": rows, "loops": loops}, indent=1) + "\n")
    (RESULTS / "environment.json").write_text(json.dumps(describe(), indent=2) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
