"""Which weights should AdamW decay? Two lines in a training loop of one's own."""

from __future__ import annotations

import torch
from torch import nn

import shrinkwise as sw

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 5))

# The two lines: filters and matrices are decayed, biases and the norm's scale and shift get an explicit 0.
groups = sw.param_groups(model, weight_decay=0.05)
optimizer = torch.optim.AdamW(groups, lr=1e-3)

for group in optimizer.param_groups:
    shapes = [tuple(parameter.shape) for parameter in group["params"]]
    print(f"weight_decay {group['weight_decay']}: {shapes}")

# A step whose data gradient is zero shows what decay alone does: each decayed weight loses the share lr·weight_decay.
before = [parameter.detach().clone() for parameter in model.parameters()]
for parameter in model.parameters():
    parameter.grad = torch.zeros_like(parameter)
optimizer.step()
for (name, parameter), old in zip(model.named_parameters(), before, strict=True):
    share = 1 - parameter.detach().norm() / old.norm() if old.norm() else 0.0
    print(f"{name:10} shrank by {share:.1e}")

# The same, measured on stand-ins for any model and optimiser, with what is likely wrong first.
print()
print(sw.audit(model, optimizer).to_text(100))
