"""Does weight decay help my convolutional network when a fifth of the labels is wrong?"""

from __future__ import annotations

import torch
from torch import nn

import shrinkwise as sw


def make_model(variant: sw.Variant) -> nn.Module:
    """Return a small convolutional network; ``variant`` says what is compared."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(variant["dropout"]),
        nn.Linear(16 * 4 * 4, 5),
    )


experiment = sw.Experiment(
    model=make_model,
    data=sw.data.digits(classes=range(5)),
    variants=sw.grid(l2=[0, 0.01, 0.1], dropout=[0, 0.5]),
    conditions=sw.grid(label_noise=[0.2]),
    optimizer=lambda groups: torch.optim.AdamW(groups, lr=3e-3),
    epochs=15,
    seeds=9,
)
result = experiment.run()

print(result.verdict())
print()
print(result.markdown())
