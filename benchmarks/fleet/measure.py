"""Times one contestant on one workload in a fresh process with two cores.

The start of the process, the imports and the reading of the data are counted for nobody; everything after is: conversion,
compilation (from caches that are empty), worker processes, calibration, store, evaluation.

    PYTHONPATH=benchmarks python -m fleet.measure MODULE MODE SIZE RUNS
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fleet.contestants import Contestant

BENCHMARKS = Path(__file__).parents[1]
CORES = 2
LINE = "measured: "
FINAL = ("l2", "dropout", "seed", "train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
"""What a row keeps of each run, curves by their last point."""


class FailedError(RuntimeError):
    """A contestant's process ended without a figure."""


def timed(contestant: Contestant, size: str, n_runs: int, limit_s: float) -> dict[str, Any]:
    """Return seconds, and the outcome of each run as a list in the order of :data:`FINAL`.

    Raises:
        FailedError: The process failed, or took longer than the limit.
    """
    threads = {name: str(CORES) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, "-m", "fleet.measure", contestant.module, contestant.mode, size, str(n_runs)]
    with tempfile.TemporaryDirectory() as scratch:
        caches = {"TORCHINDUCTOR_CACHE_DIR": scratch, "TRITON_CACHE_DIR": scratch, "JAX_ENABLE_COMPILATION_CACHE": "false"}
        environment = {**os.environ, **threads, **caches, "PYTHONPATH": str(BENCHMARKS), **contestant.environment}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            raise FailedError(f"took more than {limit_s:.0f} s") from None
    said = [line for line in done.stdout.splitlines() if line.startswith(LINE)]
    if done.returncode or not said:
        raise FailedError((done.stderr.strip().splitlines() or ["said nothing"])[-1])
    row: dict[str, Any] = json.loads(said[-1].removeprefix(LINE))
    return row


def main() -> None:
    """Train, and print one line."""
    module, mode, size, n_runs = sys.argv[1:]
    # Before any framework is imported, which would count the cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    peer = importlib.import_module(f"fleet.peers.{module}")
    # torch imports its compiler when the first optimiser is made, whether anything is compiled or not.
    importlib.import_module("torch._dynamo")
    from fleet.workloads import BATCH, workload

    work = workload(size, int(n_runs))
    # Reads the data, which is kept.
    n_rows = len(work.dataset.y)
    began = time.perf_counter()
    outcomes = peer.train(work, mode)
    seconds = time.perf_counter() - began
    runs = [[_last(getattr(outcome, name)) for name in FINAL] for outcome in outcomes]
    steps = work.epochs * -(-len(work.rows(0)[0]) // BATCH)
    print(LINE + json.dumps({"seconds": seconds, "n_rows": n_rows, "steps": steps, "runs": runs}), flush=True)


def _last(value: Any) -> Any:
    return value[-1] if isinstance(value, tuple) else value


if __name__ == "__main__":
    main()
