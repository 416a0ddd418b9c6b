"""The training functions of the examples as they stand, without the tunings that the examples ask for."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from shrinkwise.experiments.functions.training import FunctionTrainer
from shrinkwise.experiments.records import ALL_RUNS, Record, RunKey, Variant

EXAMPLES = Path(__file__).parents[1] / "examples"


class _AskedError(Exception):
    """Ends an example where it asks for its tuning."""


@dataclass(frozen=True)
class Example:
    """A script up to where it tunes.

    Attributes:
        module: What it has defined by then.
        train: What it hands to ``sw.tune``.
        options: With what else.
    """

    module: ModuleType
    train: Any
    options: dict[str, Any]

    def run(self, lam: float, seed: int = 0) -> Record:
        """Train once."""
        return FunctionTrainer(self.train)(RunKey(Variant(**{self.options.get("name", "l2"): lam}), ALL_RUNS, seed))


def load(name: str, target: str = "shrinkwise.tune") -> Example:
    """Execute an example until it calls what is named."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with mock.patch(target, side_effect=_AskedError) as asked:
        try:
            spec.loader.exec_module(module)
        except _AskedError:
            return Example(module, asked.call_args.args[0] if asked.call_args.args else None, asked.call_args.kwargs)
    raise AssertionError(f"{name} never calls {target}")


def look(example: Example, gentle: float, fatal: float) -> dict[str, Any]:
    """Train at a strength that does no harm, twice and with another seed, and at one that nothing survives."""
    first, again, other, lost = (example.run(*how) for how in ((gentle, 0), (gentle, 0), (gentle, 1), (fatal, 0)))
    metric = example.options.get("metric", "loss")
    return {
        "statuses": [record.status.value for record in (first, again, other)],
        "is_finite": all(math.isfinite(part[metric]) for part in (first.last.val, first.last.test)),
        "is_repeated": first.fingerprint() == again.fingerprint(),
        "hangs_on_the_seed": first.last.val[metric] != other.last.val[metric],
        "is_learned": first.last.val[metric] < 0.7 * math.log(10),
        "metrics": first.last.val,
        "epochs": len(first.curves["val_reported"]),
        "lost": lost.status.value if not lost.collapsed else "collapsed",
        "epochs_of_the_lost": len(lost.curves["val_reported"]),
    }


if __name__ == "__main__":
    print(look(load(sys.argv[1]), *map(float, sys.argv[2:])))  # noqa: T201  read by the test that starts this
