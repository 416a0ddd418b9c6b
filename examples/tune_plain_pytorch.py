"""Which weight decay for a training loop of my own, where the training labels are wrong in part?"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import shrinkwise as sw

EPOCHS = 40


def train(trial: sw.Trial) -> dict[str, float]:
    """Train once, to the end; everything random hangs on ``trial.seed``, so that strengths are compared within a seed."""
    pixels, labels = load_digits(n_class=5, return_X_y=True)
    x_train, x_rest, y_train, y_rest = train_test_split(pixels / 16, labels, train_size=200, random_state=trial.seed)
    rng = np.random.default_rng(trial.seed)
    y_train = np.where(rng.random(len(y_train)) < 0.4, rng.integers(5, size=len(y_train)), y_train)
    x, y = torch.tensor(x_train, dtype=torch.float32), torch.tensor(y_train)
    x_val, x_test = torch.tensor(x_rest, dtype=torch.float32).tensor_split([350])
    y_val, y_test = torch.tensor(y_rest).tensor_split([350])

    torch.manual_seed(trial.seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    # The one line that the tuning asks for: SGD's weight_decay, on matrices alone, is a λ in the unit "half", the default of tune.
    optimizer = torch.optim.SGD(sw.param_groups(model, trial["l2"]), lr=0.1, momentum=0.9)
    trial.constant(float(np.log(5)))  # what guessing costs: a run that learns nothing is told as collapsed
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            val_loss = float(nn.functional.cross_entropy(model(x_val), y_val))
            trial.report(val_loss)
        if trial.should_prune():  # diverged or collapsed; never because other runs did better by now
            break
    with torch.no_grad():
        return {"val_loss": val_loss, "test_loss": float(nn.functional.cross_entropy(model(x_test), y_test))}


tuned = sw.tune(train, seeds=8, budget=32, confirm=10)
tuned.show()

print(f"\nTake weight_decay={tuned.lam:.2g}; the best lies between {tuned.low:.2g} and {tuned.high:.2g} with 90 % probability.")
