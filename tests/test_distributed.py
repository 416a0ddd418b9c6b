"""Two processes, each with half the rows, train as one with all of them: DistributedDataParallel and FSDP2, on gloo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import replicas

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    script = Path(replicas.__file__)
    started = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(folder)], stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    for process in started:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "form"), replicas.cases())
@pytest.mark.parametrize("wrapper", ["ddp", "fsdp2"])
def test_trap_4b_two_processes_are_penalised_as_one(differences, wrapper, setting, form):
    """Every replica adds the penalty and gradients are averaged; shards are penalised where they lie."""
    assert max(found[wrapper, setting, form] for found in differences) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["touched", "catch_up"])
def test_rows_that_another_replica_touched_are_decayed_here_too(differences, mode):
    assert max(found["ddp", "rows", mode] for found in differences) < 1e-12
