"""What one of two processes does that shards the architectures: ``python sharded.py RANK STORE FILE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor

import gloo
from architectures import ARCHITECTURES
from shrinkwise.regularization.rules import place


class WhiteningNorm(nn.Module):
    """A norm with a matrix, which would pass for a vector once it is flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.ones(4, 4))


MODELS = {**{architecture.name: architecture.make for architecture in ARCHITECTURES}, "whitening": WhiteningNorm}


def facts(model: nn.Module) -> list[list[str]]:
    return [
        [p.name, p.role.value, p.why, p.module_type, *p.aliases, *p.tensors, str(p.unit_dims), str(p.parametrised_by)]
        for p in place(model)
    ]


def in_parallel(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


def sharded(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (2,))
    # From the inside out: a block is sharded after the blocks in it.
    for module in reversed(list(model.modules())):
        if isinstance(module, nn.ModuleList):
            for layer in module:
                fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    return model


def flattened(model: nn.Module) -> nn.Module:
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)


FORMS = {"bare": lambda model: model, "ddp": in_parallel, "fsdp2": sharded, "fsdp1": flattened}


def main(rank: int, store: str, file: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = {}
    for name, make in MODELS.items():
        found[name] = {form: facts(wrap(make())) for form, wrap in FORMS.items()}
    file.write_text(json.dumps(found))
    gloo.leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
