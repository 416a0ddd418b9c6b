"""Optuna names a best trial. Is its setting better than the default, or was its seed an easy one?"""

from __future__ import annotations

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import shrinkwise as sw

EPOCHS = 40
SEARCHED = {"alpha": [1e-4, 0.01, 0.1, 1.0, 10.0], "seed": list(range(8))}
NAMES = {"params_alpha": "alpha", "params_seed": "seed", "value": "loss", "user_attrs_accuracy": "accuracy", "state": "status"}
optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial: optuna.Trial) -> float:
    """Train once on 200 digits, a fifth of them mislabelled. The seed is a parameter of the study, so that its table has it."""
    alpha, seed = (trial.suggest_categorical(name, values) for name, values in SEARCHED.items())
    pixels, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(pixels / 16, labels, train_size=200, random_state=seed)
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(len(y)) < 0.2, rng.integers(10, size=len(y)), y)
    model = MLPClassifier((32,), alpha=alpha, batch_size=50, learning_rate_init=0.01, random_state=seed)
    for _ in range(EPOCHS):
        model.partial_fit(x, y, classes=range(10))
    trial.set_user_attr("accuracy", model.score(x_test, y_test))
    return log_loss(y_test, model.predict_proba(x_test))


# A grid: every alpha with every seed. A sampler that looks for good trials would look for easy seeds too.
study = optuna.create_study(sampler=optuna.samplers.GridSampler(SEARCHED))
study.optimize(objective)
print(f"Optuna's best trial: {study.best_params} with a loss of {study.best_value:.3f}.\n")

# One row a trial. With plain names the verdict reads well, knows that less loss is better, and which trials failed or were pruned.
runs = study.trials_dataframe().rename(columns=NAMES)
print(sw.verdict(runs, vary="alpha", metric="loss", base=1e-4).verdict(), "\n")
print(sw.verdict(runs, vary="alpha", metric="accuracy", base=1e-4).markdown())
