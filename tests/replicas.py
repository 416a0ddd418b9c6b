"""Trains one problem in two processes and says how far each way of penalising lies from the same in one process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import gloo
from problem import Problem

LR, STEPS, ROWS = 0.1, 5, 20
SETTINGS: dict[str, dict[str, Any]] = {
    "l2": {"l2": 0.3},
    "l1": {"l1": 0.02},
    "elastic_net": {"elastic_net": 0.1},
    "group_lasso": {"group_lasso": 0.05},
    "l2_sp": {"l2_sp": 0.3},
    "max_norm": {"max_norm": 0.5},
    "several": {"l2": {"weights": 0.1, "3": 0.4}, "l1": {"*.bias": 0.01}},
}
FORMS = ("in_loss", "coupled", "decoupled", "proximal", "param_groups")


def cases() -> list[tuple[str, str]]:
    """Return every setting in every form in which it can act."""
    pairs = [(setting, form) for setting in SETTINGS for form in FORMS[:4] if (setting, form) != ("max_norm", "in_loss")]
    return [*pairs, ("l2", "param_groups")]


def trained(setting: str, form: str, wrap: Callable[[Any], Any], rows: slice) -> tuple[Problem, float]:
    """Train a wrapped model on some rows, and return it with the value of its penalty."""
    import shrinkwise as sw

    problem = Problem()
    problem.model = wrap(problem.model)
    regularizer = sw.Regularizer(**SETTINGS[setting])
    bound = regularizer.bind(problem.model)
    groups = sw.param_groups(problem.model, 0.3) if form == "param_groups" else problem.model.parameters()
    optimizer = torch.optim.SGD(groups, lr=LR, momentum=0.9)
    if form not in ("in_loss", "param_groups"):
        bound.attach(optimizer, form=form)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = problem.loss(rows)
        (loss + bound.penalty() if form == "in_loss" else loss).backward()
        optimizer.step()
    return problem, bound.value()


def ddp(model: nn.Module) -> nn.Module:
    """Wrap as DistributedDataParallel."""
    return nn.parallel.DistributedDataParallel(model)


def fsdp2(model: Any) -> nn.Module:
    """Shard layer by layer, as FSDP2 is used."""
    from torch.distributed.fsdp import fully_shard

    for layer in (model[0], model[3]):
        fully_shard(layer)
    return fully_shard(model)


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """Return a parameter with all its shards."""
    return parameter.full_tensor().detach() if hasattr(parameter, "full_tensor") else parameter.detach()


def rows_differ(mode: str) -> float:
    """Return how far decay by rows in two replicas, which see other rows, lies from that in one process."""
    import shrinkwise as sw

    def run(wrap: Callable[[Any], Any], part: slice) -> torch.Tensor:
        model: Any = nn.Sequential(nn.Embedding(12, 3), nn.Flatten(), nn.Linear(6, 1)).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
        table = model[0].weight
        model = wrap(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        decay = sw.decay_rows(model, optimizer, 0.5, mode=mode)  # type: ignore[arg-type]
        for step in range(6):
            read = torch.tensor([[step, 11 - step], [step // 2, (5 * step + 1) % 12]])
            optimizer.zero_grad()
            model(read[part]).square().mean().backward()
            optimizer.step()
        decay.flush()
        return table.detach()

    rank = torch.distributed.get_rank()
    return (run(ddp, slice(rank, rank + 1)) - run(lambda model: model, slice(None))).abs().max().item()


def main(rank: int, folder: Path) -> None:
    """Run every case as one of two processes, and keep the differences."""
    # torch warns of its own use of torch.jit and of names that it is about to change; the parent's tests are about values.
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    differences: dict[tuple[str, ...], float] = {}
    for name, wrap in (("ddp", ddp), ("fsdp2", fsdp2)):
        for setting, form in cases():
            ours, value = trained(setting, form, wrap, slice(rank * ROWS, (rank + 1) * ROWS))
            alone, expected = trained(setting, form, lambda model: model, slice(None))
            pairs = zip(ours.model.parameters(), alone.model.parameters(), strict=True)
            apart = max((whole(p) - q.detach()).abs().max().item() for p, q in pairs)
            differences[name, setting, form] = max(apart, abs(value - expected))
    for mode in ("touched", "catch_up"):
        differences["ddp", "rows", mode] = rows_differ(mode)
    torch.save(differences, folder / f"{rank}.pt")
    gloo.leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
