"""Is scikit-learn's default alpha of 0.0001 the right one for my MLPClassifier?"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import shrinkwise as sw

EPOCHS, BATCH = 40, 50


def train(trial: sw.Trial) -> dict[str, float]:
    """Train once on 200 digits, a fifth of them mislabelled; ``trial["alpha"]`` goes to scikit-learn as it is."""
    pixels, labels = load_digits(return_X_y=True)
    x, x_rest, y, y_rest = train_test_split(pixels / 16, labels, train_size=200, random_state=trial.seed)
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, random_state=trial.seed)
    rng = np.random.default_rng(trial.seed)
    y = np.where(rng.random(len(y)) < 0.2, rng.integers(10, size=len(y)), y)

    model = MLPClassifier((64,), alpha=trial["alpha"], batch_size=BATCH, learning_rate_init=0.01, random_state=trial.seed)
    trial.constant(float(np.log(10)))
    for _ in range(EPOCHS):
        model.partial_fit(x, y, classes=range(10))
        val_loss = log_loss(y_val, model.predict_proba(x_val))
        trial.report(val_loss)
        if trial.should_prune():
            break
    return {
        "val_loss": val_loss,
        "val_accuracy": accuracy_score(y_val, model.predict(x_val)),
        "test_loss": log_loss(y_test, model.predict_proba(x_test)),
        "test_accuracy": accuracy_score(y_test, model.predict(x_test)),
    }


# The function reads its λ as trial["alpha"], and alpha has a unit of its own, the penalty alpha/(2·batch)·Σw², hence a range of its
# own. It is chosen by the loss, which feels small differences; an accuracy is coarse.
tuned = sw.tune(train, name="alpha", unit="sklearn-mlp", around=1e-4, low=1e-4, high=100.0, metric="loss", seeds=8)
tuned.show()

same = sw.convert(tuned.lam, "sklearn-mlp", "half", batch_size=BATCH)
print(f"\nIn torch, alpha={tuned.lam:.2g} would be SGD's weight_decay={same.value:.2g}: it depends on the batch size, {BATCH}.")
