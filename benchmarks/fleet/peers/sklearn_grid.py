"""scikit-learn's own way: ``MLPClassifier`` under ``GridSearchCV(n_jobs=2)``, one split for all, the seeds in the grid.

It has no dropout, so its grid is the four λs for twice the seeds: as many runs. It leaves out what its search does not measure: the
loss after each epoch, validation before the end, and the test part. Weights start, and batches come, as it draws them.
"""

from __future__ import annotations

import warnings

import numpy as np
from fleet.outcomes import Outcome
from fleet.workloads import BATCH, LR, MOMENTUM, Workload
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neural_network import MLPClassifier


def train(workload: Workload, mode: str) -> list[Outcome]:
    """Train as many runs as the others; ``mode`` is the number of worker processes."""
    split = workload.split(0)
    x, y = np.concatenate([split.x_train, split.x_val]), np.concatenate([split.y_train, split.y_val])
    is_val = np.arange(len(y)) >= len(split.y_train)
    lams = list(dict.fromkeys(float(variant["l2"]) for variant in workload.variants))
    # alpha is divided by the rows of a batch there.
    grid = {"alpha": [lam * BATCH for lam in lams], "random_state": list(range(workload.n_runs // len(lams)))}
    network = MLPClassifier(
        workload.size.hidden,
        solver="sgd",
        batch_size=BATCH,
        learning_rate_init=LR,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        max_iter=workload.epochs,
        n_iter_no_change=workload.epochs + 1,
    )
    search = GridSearchCV(network, grid, n_jobs=int(mode), cv=PredefinedSplit(np.where(is_val, 0, -1)), refit=False)
    with warnings.catch_warnings():
        # Epochs were asked for, not convergence.
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(x, y)
    found = zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True)
    return [
        Outcome(params["alpha"] / BATCH, 0.0, params["random_state"], None, None, (float(score),), None, None)
        for params, score in found
    ]
