"""``torch.func`` as the model ensembling tutorial writes it: parameters stacked, ``functional_call`` under ``vmap(grad)``.

``nn.Dropout`` has one rate for all that is stacked, so the runs without dropout are one ensemble and those with it another. SGD is
written by hand on the stacked tensors.
"""

from __future__ import annotations

import copy

import torch
from fleet.outcomes import EVALUATION_ROWS, Curves, Outcome
from fleet.workloads import BATCH, LR, MOMENTUM, Workload, is_penalised
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from shrinkwise.experiments.records import Variant

Tensors = dict[str, Tensor]
Run = tuple[Variant, int]


def train(workload: Workload, mode: str) -> list[Outcome]:
    """Train every run; ``mode`` is the number of torch's threads."""
    torch.set_num_threads(int(mode))
    torch.manual_seed(0)
    rates = dict.fromkeys(variant.get("dropout", 0.0) for variant in workload.variants)
    outcomes = []
    for rate in rates:
        alike = [variant for variant in workload.variants if variant.get("dropout", 0.0) == rate]
        outcomes += Ensemble(workload, [(variant, seed) for seed in workload.seeds for variant in alike]).train()
    return outcomes


class Ensemble:
    """Runs that differ in λ and seed alone, stacked along a leading axis ``run``."""

    def __init__(self, workload: Workload, runs: list[Run]) -> None:
        self.workload, self.runs = workload, runs
        models = [workload.plain(variant, seed) for variant, seed in runs]
        self.params, self.buffers = stack_module_state(models)
        self.base = copy.deepcopy(models[0]).to("meta")
        self.velocity = {name: torch.zeros_like(value) for name, value in self.params.items()}
        self.lam = torch.tensor([float(variant["l2"]) for variant, _ in runs])
        self.penalised = {name for name, value in models[0].named_parameters() if is_penalised(name, value)}
        self.x, self.y = torch.from_numpy(workload.dataset.x), torch.from_numpy(workload.dataset.y)
        by_seed = {seed: [torch.from_numpy(part) for part in workload.rows(seed)] for seed in workload.seeds}
        self.train_rows, self.val_rows = (torch.stack([by_seed[seed][part] for _, seed in runs]) for part in (0, 1))
        self.test_rows = torch.stack([by_seed[seed][2] for _, seed in runs])

    def train(self) -> list[Outcome]:
        """Train all runs at once."""
        step = vmap(grad(self._loss), randomness="different")
        curves = [Curves(*run) for run in self.runs]
        for epoch in range(1, self.workload.epochs + 1):
            self.base.train()
            n = self.train_rows.shape[1]
            orders = {seed: self.workload.order(seed, epoch, n) for seed in self.workload.seeds}
            order = torch.stack([orders[seed] for _, seed in self.runs])
            for rows in self.train_rows.gather(1, order).split(BATCH, 1):
                self._update(step(self.params, self.buffers, self.x[rows], self.y[rows]))
            points = zip(self._measured(self.train_rows), self._measured(self.val_rows), strict=True)
            for curve, (train, val) in zip(curves, points, strict=True):
                curve.add(train, val)
        return [curve.end(test) for curve, test in zip(curves, self._measured(self.test_rows, is_test=True), strict=True)]

    def _loss(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(self.base, (params, buffers), (x,)), y)

    def _update(self, grads: Tensors) -> None:
        with torch.no_grad():
            for name, value in self.params.items():
                g = grads[name]
                if name in self.penalised:
                    g = g + self.lam.view(-1, *[1] * (value.ndim - 1)) * value
                self.velocity[name].mul_(MOMENTUM).add_(g)
                value.sub_(self.velocity[name], alpha=LR)

    def _measured(self, rows: Tensor, is_test: bool = False) -> list[tuple[float, float]]:
        """Return mean loss and accuracy of each run on rows of its own, shape ``(run, n)``."""
        self.base.eval()
        given = self.workload.dataset.test if is_test else None
        x, y = (self.x, self.y) if given is None else (torch.from_numpy(given[0]), torch.from_numpy(given[1]))
        predict = vmap(lambda params, buffers, x: functional_call(self.base, (params, buffers), (x,)))
        loss, hits = torch.zeros(len(self.runs)), torch.zeros(len(self.runs))
        with torch.no_grad():
            # Rows differ by run: as many at a time as the memory holds.
            for part in rows.split(max(1, EVALUATION_ROWS // len(self.runs)), 1):
                logits, targets = predict(self.params, self.buffers, x[part]), y[part]
                loss += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(part.shape).sum(1)
                hits += (logits.argmax(2) == targets).sum(1)
        return list(zip((loss / rows.shape[1]).tolist(), (hits / rows.shape[1]).tolist(), strict=True))
