"""What the examples of tuning claim holds of the very functions that stand in them, in the real libraries."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

import example_trainings
from example_trainings import EXAMPLES, load, look

pytestmark = [
    # Lightning asks torch's pytree in a way that torch has deprecated since, and would like more processes for a few rows.
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

# Example -> what it imports, a strength that does no harm, one that nothing survives, and how the run ends then.
TUNED = {
    "tune_plain_pytorch": ("torch", 0.01, 100.0, "diverged"),
    "tune_huggingface_trainer": ("transformers", 0.1, 1e4, "diverged"),
    "tune_lightning": ("lightning", 0.003, 100.0, "diverged"),
    "tune_sklearn": ("sklearn", 0.1, 1e3, "collapsed"),
    "tune_keras": ("keras", 0.002, 100.0, "diverged"),
}


def needs(library):
    return pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed")


def told(name, gentle, fatal):
    """Look at an example; Keras takes its backend when it is first imported, so in a process of its own."""
    if name != "tune_keras":
        return look(load(name), gentle, fatal)
    script = [sys.executable, "-W", "error", example_trainings.__file__, name, str(gentle), str(fatal)]
    found = subprocess.run(script, capture_output=True, text=True, env=os.environ | {"KERAS_BACKEND": "jax"}, check=False)
    assert found.returncode == 0, found.stderr
    return ast.literal_eval(found.stdout)


@pytest.mark.parametrize(
    ("name", "gentle", "fatal", "end"),
    [pytest.param(name, *rest, marks=needs(library), id=name) for name, (library, *rest) in TUNED.items()],
)
def test_an_example_trains_by_its_seed_and_stops_what_is_lost(name, gentle, fatal, end):
    found = told(name, gentle, fatal)
    assert found["statuses"] == ["done"] * 3
    assert found["is_finite"]
    assert found["is_learned"]
    assert found["is_repeated"]
    assert found["hangs_on_the_seed"]
    assert found["lost"] == end
    if name == "tune_keras":
        assert found["metrics"]["loss"] > 1.05 * found["metrics"]["crossentropy"]  # Keras's own val_loss holds the penalty
    # Lost is told by the first value that is not finite, and collapse by ten: either way long before the last epoch.
    assert found["epochs_of_the_lost"] < found["epochs"]


def test_every_example_that_tunes_is_looked_at():
    assert {path.stem for path in EXAMPLES.glob("tune_*.py")} == set(TUNED)


@needs("optuna")
def test_an_optuna_study_is_read_with_its_failed_and_pruned_trials():
    import optuna

    import shrinkwise as sw

    module = load("judge_an_optuna_study", "optuna.create_study").module
    searched = {"alpha": [1e-4, 1.0, 10.0], "seed": list(range(8))}

    def objective(trial):
        if (
            trial.suggest_categorical("seed", searched["seed"]) == 6
            and trial.suggest_categorical("alpha", searched["alpha"]) == 1.0
        ):
            raise optuna.TrialPruned
        return module.objective(trial)

    module.SEARCHED.update(searched)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(searched))
    study.optimize(objective)
    runs = study.trials_dataframe().rename(columns=module.NAMES)
    result = sw.verdict(runs, vary="alpha", metric="accuracy", base=1e-4)
    helps, hurts = result.answer.comparisons
    assert (helps.difference.n, hurts.difference.n) == (7, 8)
    assert (helps.finding.value, hurts.finding.value) == ("helps", "hurts")
    means = runs.groupby("alpha").accuracy.mean()
    assert hurts.difference.point == pytest.approx(means[10.0] - means[1e-4])
    assert sw.verdict(runs, vary="alpha", metric="loss", base=1e-4).answer.comparisons[1].finding.value == "hurts"
