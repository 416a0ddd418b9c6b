"""The article's table on real MNIST digits 0-4, under each reading of its formula; fills ``results/article/`` for the docs page.

    python benchmarks/article.py [FOLDER OF IDX FILES]

Takes about fifteen minutes on two cores, and goes on where it was stopped. Without a folder it reads ``../shared/data/mnist`` where
that is there, else OpenML's copy.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from environment import describe
from rich.console import Console
from rich.progress import Progress

from shrinkwise.experiments.spec import Spec

RESULTS = Path(__file__).parent / "results" / "article"
SCRATCH = Path("runs") / "article"
SHARED = Path(__file__).parents[2] / "shared" / "data" / "mnist"

ALL_IMAGES: dict[str, Any] = {"classes": "0-4", "l2": [0, 0.01, 0.1, 1], "dropout": [0, 0.5], "epochs": 5, "seeds": 10}
FEW_IMAGES: dict[str, Any] = ALL_IMAGES | {"epochs": 20, "train_size": 2000, "label_noise": [0, 0.2]}

READINGS: dict[str, dict[str, Any]] = {
    "half-weights": ALL_IMAGES | {"unit": "half"},
    "half-all": ALL_IMAGES | {"unit": "half", "apply_to": "all"},
    "sum-weights": ALL_IMAGES | {"unit": "sum"},
    "per-sample-weights": ALL_IMAGES | {"unit": "per_sample"},
    "few-images": FEW_IMAGES,
    "few-images-article-dropout": FEW_IMAGES | {"l2": [0, 0.01], "dropout_article": True},
}


def run(name: str, settings: dict[str, Any], data: str) -> None:
    """Run one reading, and keep its table, its runs without the outcome of each test row, and its sentence."""
    experiment = Spec.read(settings | {"data": data}).experiment()
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(name)
        result = experiment.run(SCRATCH / name, progress=lambda n_done, n_all: bar.update(task, completed=n_done, total=n_all))
    folder = RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    runs = result.runs().drop(columns=["accuracy_rows"])
    runs.to_csv(folder / "runs.csv", index=False, float_format="%.6g")
    (folder / "table.md").write_text(result.markdown(), encoding="utf-8")
    print(f"{name}: {result.verdict()}")


def main() -> None:
    """Run every reading."""
    data = sys.argv[1] if len(sys.argv) > 1 else str(SHARED) if SHARED.is_dir() else "mnist"
    for name, settings in READINGS.items():
        run(name, settings, data)
    (RESULTS / "environment.json").write_text(json.dumps(describe(), indent=2) + "\n")


if __name__ == "__main__":
    main()
