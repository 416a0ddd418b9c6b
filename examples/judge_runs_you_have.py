"""Does ``alpha`` of scikit-learn's MLPClassifier help? Runs from another tool, judged by the same statistics."""

from __future__ import annotations

import warnings

import pandas as pd
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import shrinkwise as sw

warnings.simplefilter("ignore", ConvergenceWarning)
x, y = load_digits(n_class=5, return_X_y=True)

rows = []
for seed in range(8):
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.4, random_state=seed, stratify=y)
    for alpha in (0.0, 0.1, 10.0):
        model = MLPClassifier((32,), alpha=alpha, max_iter=60, random_state=seed).fit(x_train, y_train)
        sizes = {"n_train": len(y_train), "n_test": len(y_test)}
        rows.append({"alpha": alpha, "seed": seed, "accuracy": model.score(x_test, y_test), **sizes})
runs = pd.DataFrame(rows)

# Each seed cuts its own test set out of one data set; told the sizes, the interval allows for the overlap.
result = sw.verdict(runs, vary="alpha", metric="accuracy", n_train="n_train", n_test="n_test")
print(result.verdict())
print(result.table().to_string())
