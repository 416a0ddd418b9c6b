"""Every parameter of real architectures has the role that a person gives it, wrapped and sharded or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

import sharded
from architectures import ARCHITECTURES
from shrinkwise.regularization.rules import chosen, place, unknown_left_free

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda case: case.name)


def _ids(placements):
    return {id(placed.parameter) for placed in placements}


@every_architecture
def test_every_parameter_has_the_role_of_the_hand_made_list(architecture):
    model = architecture.make()
    placements = place(model)
    by_hand = architecture.by_hand(name for name, _ in model.named_parameters())
    assert {placed.name: placed.role.value for placed in placements} == by_hand
    assert {placed.name for placed in placements if placed.is_frozen} == {name for name in by_hand if architecture.frozen(name)}


@every_architecture
def test_the_default_penalises_matrices_filters_and_lora_factors_and_nothing_is_left_unknown(architecture):
    model = architecture.make()
    placements = place(model)
    by_hand = architecture.by_hand(name for name, _ in model.named_parameters())
    expected = {name for name, role in by_hand.items() if role in ("weight", "lora") and not architecture.frozen(name)}
    assert {placed.name for placed in chosen(placements)} == expected
    assert unknown_left_free(placements, set()) == ()


@every_architecture
def test_the_choice_of_huggingface_is_that_of_the_real_trainer(architecture):
    from transformers import Trainer

    model = architecture.make()
    # What Trainer.create_optimizer does with the names; the method itself needs nothing of the trainer.
    names = set(Trainer.get_decay_parameter_names(None, model))
    decayed = {id(p) for name, p in model.named_parameters() if name in names and p.requires_grad}
    assert _ids(chosen(place(model), "huggingface")) == decayed


# torch warns of its own use of torch.jit when torch.compile is first imported.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@every_architecture
def test_torch_compile_changes_nothing(architecture):
    model = architecture.make()
    bare = sharded.facts(model)
    assert sharded.facts(torch.compile(model)) == bare
    assert _ids(place(torch.compile(model))) == {id(p) for p in model.parameters()}


@pytest.fixture(scope="module")
def in_two_processes(tmp_path_factory):
    """What two processes of gloo find, each in a file, started afresh: torch forbids forking once it has threads."""
    folder = tmp_path_factory.mktemp("gloo")
    files = [folder / f"{rank}.json" for rank in (0, 1)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    commands = [[sys.executable, sharded.__file__, str(rank), str(folder / "store"), str(files[rank])] for rank in (0, 1)]
    with (folder / "errors").open("w+") as errors:
        processes = [subprocess.Popen(command, env=environment, stderr=errors) for command in commands]
        codes = [process.wait(timeout=300) for process in processes]
        errors.seek(0)
        assert codes == [0, 0], errors.read()
    return [json.loads(file.read_text()) for file in files]


@pytest.mark.slow
@pytest.mark.parametrize("name", sharded.MODELS)
@pytest.mark.parametrize("form", ["ddp", "fsdp2"])
def test_ddp_and_fully_shard_change_neither_names_nor_roles_nor_reasons(form, name, in_two_processes):
    """Trap 3: FSDP2 replaces every parameter and makes a class of its own for every module that it shards."""
    expected = sharded.facts(sharded.MODELS[name]())
    for found in in_two_processes:
        assert found[name]["bare"] == expected
        assert found[name][form] == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", sharded.MODELS)
def test_trap_3_fsdp1_makes_no_role_another_but_hides_those_that_need_a_shape(name, in_two_processes):
    """Trap 3: flattened shards all have one dimension, so nothing may be judged by them."""
    expected = {parameter: role for parameter, role, *_ in sharded.facts(sharded.MODELS[name]())}
    for found in in_two_processes:
        roles = {parameter: role for parameter, role, *_ in found[name]["fsdp1"]}
        assert roles.keys() == expected.keys()
        assert all(role in (expected[parameter], "unknown") for parameter, role in roles.items())
        by_type = {parameter for parameter, role in expected.items() if role in ("weight", "lora", "bias", "embedding")}
        assert all(roles[parameter] == expected[parameter] for parameter in by_type)
