"""Every parameter gets one place, by the type of its module."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import laws
from cases import MODELS, TiedLanguageModel
from shrinkwise.errors import ModelError, SettingError, UnplacedParameterWarning
from shrinkwise.regularization.rules import Role, penalised, place

every_model = pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
BY_NAME = {case.name: case for case in MODELS}


@every_model
def test_place_gives_the_roles_that_a_person_gives(case):
    placements = place(case.make())
    assert {placed.name: placed.role.value for placed in placements} == case.roles
    assert [placed.name for placed in placements] == list(case.roles)


@every_model
def test_place_lists_every_parameter_once(case):
    model = case.make()
    laws.assert_each_once(model, [placed.parameter for placed in place(model)], trained_only=False)


@every_model
def test_place_names_aliases_and_frozen_parameters(case):
    placements = place(case.make())
    assert {placed.name: placed.aliases for placed in placements if placed.aliases} == case.aliases
    assert tuple(placed.name for placed in placements if placed.is_frozen) == case.frozen


@every_model
def test_penalised_weights_are_the_trained_weights(case):
    placements = place(case.make())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chosen = penalised(placements)
    expected = [name for name, role in case.roles.items() if role == "weight" and name not in case.frozen]
    assert [placed.name for placed in chosen] == expected
    assert [warning.category for warning in caught] == [UnplacedParameterWarning] * bool(case.unknown)
    assert all(name in str(caught[0].message) for name in case.unknown)


@every_model
def test_penalised_all_is_everything_that_is_trained(case):
    chosen = penalised(place(case.make()), "all")
    assert [placed.name for placed in chosen] == [name for name in case.roles if name not in case.frozen]


def test_a_frozen_parameter_of_unknown_kind_needs_no_warning():
    model = BY_NAME["custom_norm"].make()
    model[1].requires_grad_(False)
    assert [placed.name for placed in penalised(place(model))] == ["0.weight"]


def test_the_reason_says_where_a_role_comes_from():
    tied = place(TiedLanguageModel(is_head_first=True))[0]
    assert (tied.module_type, tied.why) == ("Linear", "tied, and as embedding.weight the embedding of Embedding")
    unknown = place(BY_NAME["custom_norm"].make())[-1]
    assert unknown.why == "CustomNorm with a parameter 'weight' is no module that Shrinkwise knows"


def test_a_tied_parameter_with_one_unknown_use_stays_free():
    model = nn.Module()
    model.layer = nn.Linear(2, 2, bias=False)
    model.holder = nn.ParameterList([model.layer.weight])
    (placed,) = place(model)
    assert placed.role is Role.UNKNOWN
    assert placed.aliases == ("holder.0",)


WRAPPERS = {
    "compile": torch.compile,
    "data_parallel": nn.DataParallel,
    "data_parallel_of_compile": lambda model: nn.DataParallel(torch.compile(model)),
}


# torch warns of its own use of torch.jit when torch.compile is first imported.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@every_model
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_change_neither_names_nor_roles(case, wrap):
    model = case.make()
    bare = [(placed.name, placed.role, id(placed.parameter), placed.aliases) for placed in place(model)]
    assert [(placed.name, placed.role, id(placed.parameter), placed.aliases) for placed in place(wrap(model))] == bare


def test_distributed_data_parallel_changes_no_names(tmp_path):
    model = BY_NAME["mlp"].make()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        assert [placed.name for placed in place(wrapped)] == [placed.name for placed in place(model)]
    finally:
        torch.distributed.destroy_process_group()


def test_a_child_that_is_only_called_module_keeps_its_name():
    model = nn.Module()
    model.module = nn.Linear(2, 2)
    assert [placed.name for placed in place(model)] == ["module.weight", "module.bias"]


def test_place_refuses_what_is_no_module():
    with pytest.raises(ModelError, match=r"got list.*Give a torch\.nn\.Module"):
        place([nn.Linear(2, 2)])


def test_penalised_refuses_an_unknown_choice():
    with pytest.raises(SettingError, match="Did you mean 'weights'"):
        penalised((), "weight")
