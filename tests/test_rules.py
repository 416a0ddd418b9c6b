"""Every parameter gets one place, by the type of its module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import laws
from cases import MODELS, TiedLanguageModel
from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.rules import Role, chosen, place, unknown_left_free

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
def test_weights_are_the_trained_weights_and_what_is_unknown_stays_free(case):
    placements = place(case.make())
    weights = chosen(placements)
    expected = [name for name, role in case.roles.items() if role == "weight" and name not in case.frozen]
    assert [placed.name for placed in weights] == expected
    left = unknown_left_free(placements, {id(placed.parameter) for placed in weights})
    assert [placed.name for placed in left] == case.unknown


@every_model
@pytest.mark.parametrize("apply_to", ["all", "torch"])
def test_all_is_everything_that_is_trained(case, apply_to):
    everything = chosen(place(case.make()), apply_to)
    assert [placed.name for placed in everything] == [name for name in case.roles if name not in case.frozen]
    assert unknown_left_free(everything, {id(placed.parameter) for placed in everything}) == ()


def test_a_frozen_parameter_of_unknown_kind_is_not_left_free():
    model = BY_NAME["custom_layer"].make()
    model[1].requires_grad_(False)
    placements = place(model)
    assert [placed.name for placed in chosen(placements)] == ["0.weight"]
    assert unknown_left_free(placements, set()) == ()


def test_the_reason_says_where_a_role_comes_from():
    tied = place(TiedLanguageModel(is_head_first=True))[0]
    assert (tied.module_type, tied.why) == ("Linear", "tied, and as embedding.weight the embedding of Embedding")
    unknown = place(BY_NAME["custom_layer"].make())[-1]
    assert unknown.why == "Mixer with a parameter 'mix' is no module that Shrinkwise knows"
    reasons = {name: place(BY_NAME[name].make())[i].why for name, i in (("custom_norm", -1), ("subclass_with_more", -1))}
    assert reasons == {
        "custom_norm": "norm by the name of its type CustomNorm",
        "subclass_with_more": "scale by its name logit_scale in ScaledLinear",
    }


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


def test_chosen_refuses_an_unknown_choice():
    with pytest.raises(SettingError, match="Did you mean 'weights'"):
        chosen((), "weight")
    with pytest.raises(SettingError, match="Did you mean 'huggingface'"):
        chosen((), "hugging_face")


def test_chosen_gives_frozen_placements_where_they_are_asked_for():
    model = BY_NAME["mlp"].make()
    trained = [[placed.name for placed in chosen(place(model), apply_to)] for apply_to in ("weights", "all", "nanogpt")]
    model.requires_grad_(False)
    for apply_to, expected in zip(("weights", "all", "nanogpt"), trained, strict=True):
        assert chosen(place(model), apply_to) == ()
        assert [placed.name for placed in chosen(place(model), apply_to, frozen=True)] == expected


def test_a_placement_shows_itself_without_its_numbers():
    shown = repr(place(nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(3))))
    assert shown.startswith("(Placement(0.weight, 3x2: weight of Linear), Placement(0.bias, 3: bias of Linear), ")
    assert "tensor" not in shown
