"""What do the readings of "pause some neurons every 10 iterations" do to a network's gradients?"""

from __future__ import annotations

import torch
from torch import nn

import shrinkwise as sw
from shrinkwise.regularization.dropout import place_dropout, set_step

torch.manual_seed(0)
x, reader = torch.rand(1, 6), nn.Linear(6, 1, bias=False)


def placed(dropout: sw.Dropout, step: int) -> sw.Dropout:
    """Give a dropout that stands alone its seed and its step."""
    place_dropout(dropout, seed=0)
    set_step(dropout, step)
    return dropout


silenced = placed(sw.Dropout(0.5), step=1)(x) == 0
print(f"{int(silenced.sum())} of 6 neurons are silenced; how many have a gradient, and how many of their outgoing weights?")
for backward in ("masked", "identity", "full"):
    activation = x.clone().requires_grad_()
    reader.zero_grad()
    placed(sw.Dropout(0.5, backward=backward), step=1)(activation, into=reader).backward()
    assert activation.grad is not None
    assert reader.weight.grad is not None
    neurons, weights = (int((gradient != 0).sum()) for gradient in (activation.grad, reader.weight.grad))
    print(f"{backward:9} {neurons} of 6 neurons, {weights} of 6 weights")

# Every 10th step: the article's rhythm.
article = sw.Dropout.article(0.5)
acting = [step for step in range(1, 31) if not torch.equal(placed(article, step)(x, into=reader), reader(x))]
print(f"the article's dropout acts at steps {acting}")
