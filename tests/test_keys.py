"""Which parameters a key names, and which of several entries decides."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cases import TiedLanguageModel
from shrinkwise.errors import SettingError, UnplacedParameterWarning
from shrinkwise.regularization.apply import Regularizer, param_groups
from shrinkwise.regularization.rules import ApplyTo, Role, assign, chosen, place


class Attention(nn.Module):
    """A layer that holds layers and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(4, 4)
        self.out = nn.Linear(4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(3, 4))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.norm = nn.LayerNorm(4)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))


class Encoder(nn.Module):
    """Words, a few blocks in a list, a convolution and a head."""

    def __init__(self, n_blocks: int = 3) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList([Block() for _ in range(n_blocks)])
        self.mix = nn.Conv1d(4, 4, 1)
        self.head = nn.Linear(4, 2)


def named(model, entries, **options):
    """Return name -> entry of what ``assign`` decides."""
    return {placement.name: entry for placement, entry in assign(place(model), entries, slot="l2", **options)}


def of(model, key, **options):
    return set(named(model, {key: 1.0}, **options))


NAMES = tuple(place_.name for place_ in place(Encoder()))
WEIGHTS = {name for name in NAMES if name.endswith(".weight") and "norm" not in name and "words" not in name}

KINDS_OF_KEY = {
    "choice": ("weights", WEIGHTS),
    "everything": ("all", set(NAMES)),
    "role": ("bias", {name for name in NAMES if name.endswith(".bias") and "norm" not in name}),
    "role_as_enum": (Role.NORM, {name for name in NAMES if ".norm." in name}),
    "embedding": ("embedding", {"words.weight"}),
    "token": ("token", {name for name in NAMES if name.endswith("pos_embed")}),
    "type": (nn.Conv1d, {"mix.weight"}),
    "type_by_name": ("Conv1d", {"mix.weight"}),
    "parent_type": (nn.modules.conv._ConvNd, {"mix.weight"}),
    "parent_type_by_name": ("_ConvNd", {"mix.weight"}),
    "module_is_every_type": (nn.Module, WEIGHTS),
    "module": ("blocks.1", {name for name in WEIGHTS if name.startswith("blocks.1.")}),
    "outer_module": ("blocks", {name for name in WEIGHTS if name.startswith("blocks.")}),
    "module_glob": ("blocks.[01].mlp", {name for name in WEIGHTS if name.startswith(("blocks.0.mlp", "blocks.1.mlp"))}),
    "star_crosses_dots": ("blocks.*.out", {f"blocks.{i}.attention.out.weight" for i in range(3)}),
    "parameter": ("head.bias", {"head.bias"}),
    "parameter_of_any_role": ("blocks.0.norm.weight", {"blocks.0.norm.weight"}),
    "parameter_glob": ("*.norm.weight", {f"blocks.{i}.norm.weight" for i in range(3)}),
    "predicate": (lambda placement: placement.parameter.ndim == 3, {"mix.weight"}),
}


@pytest.mark.parametrize("key", KINDS_OF_KEY)
def test_a_key_names_what_a_person_would_list(key):
    word, expected = KINDS_OF_KEY[key]
    assert of(Encoder(), word) == expected
    assert expected


@pytest.mark.parametrize("choice", get_args(ApplyTo))
def test_every_choice_of_parameters_is_a_key(choice):
    placements = place(Encoder())
    assert of(Encoder(), choice) == {placement.name for placement in chosen(placements, choice)}
    assert named(Encoder(), 0.5, apply_to=choice) == dict.fromkeys(of(Encoder(), choice), 0.5)


def test_a_key_that_names_modules_means_what_apply_to_chooses_there():
    assert of(Encoder(), "head", apply_to="all") == {"head.weight", "head.bias"}
    assert of(Encoder(), nn.LayerNorm, apply_to="all") == {name for name in NAMES if ".norm." in name}
    assert "blocks.0.attention.pos_embed" in of(Encoder(), "blocks.?", apply_to="nanogpt")


SPECIFIC = (  # from the least to the most specific, each about mlp.0.weight of block 0
    "weights",
    Role.WEIGHT,
    nn.Linear,
    "Linear",
    "blocks.?.mlp",
    "blocks",
    "blocks.0",
    "blocks.0.mlp",
    "blocks.0.mlp.0",
    "blocks.0.mlp.0.w*",
    "blocks.0.mlp.0.weight",
)
EQUALS = ({"weights", Role.WEIGHT}, {nn.Linear, "Linear"})


@given(st.lists(st.sampled_from(SPECIFIC), min_size=1, unique=True))
def test_the_more_specific_key_decides_in_any_order_and_among_equals_the_later(keys):
    decided = named(Encoder(), {key: i for i, key in enumerate(keys)})["blocks.0.mlp.0.weight"]
    ranks = [min(SPECIFIC.index(other) for other in next((e for e in EQUALS if key in e), {key})) for key in keys]
    assert decided == max(range(len(keys)), key=lambda i: (ranks[i], i))


@given(st.permutations(["head.weight", lambda placement: placement.name == "head.weight"]))
def test_a_parameter_by_name_and_a_predicate_are_equals(keys):
    assert named(Encoder(), {keys[0]: 1, keys[1]: 2}) == {"head.weight": 2}


@given(st.permutations(["blocks.*", "*.mlp"]))
def test_two_globs_are_equals(keys):
    assert named(Encoder(), {keys[0]: 1, keys[1]: 2})["blocks.2.mlp.0.weight"] == 2


def test_each_parameter_is_decided_for_once_in_the_order_of_the_model():
    decided = [placement.name for placement, _ in assign(place(Encoder()), {"head": 1, "all": 2, "*.bias": 3}, slot="l2")]
    assert decided == list(NAMES)


@pytest.mark.parametrize("key", ["embedding", "head", "embedding.weight", "head.weight", nn.Linear, "Embedding", "h*.weight"])
def test_trap_1_a_tied_parameter_answers_to_each_of_its_names_and_is_given_one_entry(key):
    model = TiedLanguageModel(is_head_first=False)
    assert named(model, {key: 1.0}, apply_to="all") == {"embedding.weight": 1.0}


def test_trap_1_another_name_of_a_tied_parameter_is_as_specific_as_its_first():
    model = TiedLanguageModel(is_head_first=False)
    assert named(model, {"head.weight": 1, "embedding.*": 2, "*.weight": 3}) == {"embedding.weight": 1}


def test_the_deepest_of_a_tied_parameters_modules_decides():
    model = nn.Module()
    model.outer = nn.Module()
    model.outer.first = nn.Linear(2, 2, bias=False)
    model.second = nn.Linear(2, 2, bias=False)
    model.second.weight = model.outer.first.weight
    for keys in (("outer.first", "second"), ("second", "outer.first")):
        assert named(model, {key: key for key in keys}) == {"outer.first.weight": "outer.first"}


def test_trap_2_a_key_is_a_whole_name_and_no_part_of_one():
    model = nn.ModuleDict({"head": nn.Linear(2, 2), "head2": nn.Linear(2, 2), "unbiased_head": nn.Linear(2, 2, bias=False)})
    assert of(model, "head") == {"head.weight"}
    assert of(model, "bias") == {"head.bias", "head2.bias"}


class LlamaLike(nn.Module):
    """A norm in each layer, and a last one that is called norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.RMSNorm(3)) for _ in range(2)])
        self.norm = nn.RMSNorm(3)


def test_a_word_that_is_a_role_and_a_module_is_refused_with_both_ways_out():
    with pytest.raises(SettingError, match=r"'norm'.*also the name of a module.*Role\.NORM.*'norm\.weight'"):
        named(LlamaLike(), {"norm": 0.1})
    assert of(LlamaLike(), Role.NORM) == {"layers.0.1.weight", "layers.1.1.weight", "norm.weight"}
    assert of(LlamaLike(), "norm.weight") == {"norm.weight"}


def test_a_word_with_two_readings_that_agree_is_taken():
    model = nn.ModuleDict({"embedding": nn.Embedding(3, 2), "head": nn.Linear(2, 2)})
    assert of(model, "embedding") == {"embedding.weight"}
    assert of(nn.Linear(2, 2), "weight") == {"weight"}


def test_a_role_that_no_parameter_has_leaves_the_word_to_a_name():
    assert of(nn.ModuleDict({"scale": nn.Linear(2, 2)}), "scale") == {"scale.weight"}
    assert of(nn.LayerNorm(2), "weight") == {"weight"}


@pytest.mark.parametrize("word", ["weights", "all", "keras"])
def test_a_choice_that_is_also_a_module_is_refused(word):
    model = nn.ModuleDict({word: nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    with pytest.raises(SettingError, match=f"'{word}'.*also the name of a module"):
        named(model, {word: 0.1})
    assert named(model, 0.1) == {f"{word}.weight": 0.1, "other.weight": 0.1}


def test_a_role_that_is_also_a_parameter_of_the_model_is_refused():
    model = nn.Sequential(nn.Linear(2, 2))
    model.cls_token = nn.Parameter(torch.zeros(1, 1, 2))
    model.token = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(SettingError, match="also the name of a parameter"):
        named(model, {"weight": 1, "token": 2})
    assert of(model, Role.TOKEN) == {"cls_token"}


@pytest.mark.parametrize("key", ["0", "0.weight", nn.Linear, "[0]", "?.weight", Role.WEIGHT, "weights", lambda placement: True])
def test_a_frozen_parameter_may_be_named_and_is_left_out(key):
    model = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False)
    assert named(model, {key: 1.0}) == {}
    half = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    half[0].requires_grad_(False)
    assert "0.weight" not in named(half, {key: 1.0})


MISTAKES = {
    "typo_of_a_module": ("haed", r"Did you mean 'head'"),
    "typo_of_a_role": ("embeding", r"Did you mean 'embedding'"),
    "typo_of_a_choice": ("wieghts", r"Did you mean 'weights'"),
    "typo_of_a_type": ("Con1d", r"Did you mean 'Conv1d'"),
    "typo_of_a_parameter": ("head.wieght", r"Did you mean 'head.weight'"),
    "glob_of_nothing": ("decoder.*", r"names no module, parameter, role or module type"),
    "part_of_a_name": ("hea", r"Did you mean 'head'"),
    "role_of_nothing": (Role.LORA, r"the key Role\.LORA: it names no parameter"),
    "role_of_nothing_by_word": ("lora", r"'lora': it names no parameter"),
    "type_of_nothing": (nn.Conv2d, r"the key Conv2d: it names no parameter"),
    "type_that_only_holds_modules": (Block, r"the key Block: it names no parameter"),
    "predicate_of_nothing": (lambda placement: False, r"names no parameter"),
    "module_without_weights": ("blocks.0.norm", r"no parameter that apply_to='weights' chooses.*'blocks.0.norm.weight'"),
    "type_without_weights": (nn.LayerNorm, r"no parameter that apply_to='weights' chooses.*role, 'norm'"),
    "number": (3, r"a key is a name, a glob, a role, a module type or a function"),
    "none": (None, r"a key is a name"),
    "type_of_no_module": (int, r"a key is a name"),
    "tuple": (("head", "mix"), r"a key is a name"),
    "empty": ("", r"names no module"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_key_that_names_nothing_is_refused_with_the_mend(mistake):
    key, message = MISTAKES[mistake]
    with pytest.raises(SettingError, match=message) as caught:
        named(Encoder(), {"weights": 0.1, key: 0.2})
    assert "l2 has the key" in caught.value.fact


@pytest.mark.parametrize("entries", [0.1, {"weights": 0.1}, {Role.WEIGHT: 0.1}, {"head.weight": 0.1}])
def test_an_unknown_choice_is_refused_whatever_the_keys(entries):
    with pytest.raises(SettingError, match="Did you mean 'weights'"):
        named(Encoder(), entries, apply_to="weigths")


def test_a_choice_that_means_nothing_in_a_model_is_no_mistake():
    assert named(nn.LayerNorm(2), {"weights": 0.1}) == {}
    assert named(nn.ReLU(), {"all": 0.1}) == {}


@pytest.mark.parametrize("nothing", [0, None])
def test_zero_or_none_exempts(nothing):
    bound = Regularizer(l2={"weights": 0.1, "head": nothing}).bind(Encoder())
    assert {term.placement.name for term in bound.terms} == WEIGHTS - {"head.weight"}


def test_kinds_are_decided_each_for_itself():
    bound = Regularizer(l2={"weights": 0.1, "head": 0}, l1={"head": 0.2, "head.weight": 0.3}).bind(Encoder(1))
    strengths = {(term.kind, term.placement.name): term.penalty.strength for term in bound.terms}
    assert strengths[("l1", "head.weight")] == 0.3
    assert ("l2", "head.weight") not in strengths
    assert strengths[("l2", "mix.weight")] == 0.1


def test_param_groups_read_keys_as_a_regularizer_does():
    model = Encoder()
    entries = {"weights": 0.05, "blocks": 0.1, "blocks.2": 0, "head.bias": 0.02, nn.Conv1d: 0.3}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {names[id(p)]: group["weight_decay"] for group in param_groups(model, entries) for p in group["params"]}
    bound = Regularizer(l2=entries).bind(model)
    assert {name: lam for name, lam in groups.items() if lam} == {t.placement.name: t.penalty.strength for t in bound.terms}
    assert groups["head.bias"] == 0.02
    assert groups["blocks.2.mlp.0.weight"] == 0
    assert groups["mix.weight"] == 0.3


@pytest.mark.parametrize("use", [lambda entries, model: Regularizer(l2=entries).bind(model), lambda e, m: param_groups(m, e)])
def test_naming_a_parameter_of_unknown_kind_with_0_is_the_mend_that_the_warning_gives(use):
    model = nn.Sequential(nn.Linear(2, 2))
    model.mix = nn.Parameter(torch.zeros(2, 2))
    with pytest.warns(UnplacedParameterWarning, match="mix of Sequential"):
        use({"weights": 0.1}, model)
    use({"weights": 0.1, "mix": 0}, model)
    use({"weights": 0.1, "mix": 0.1}, model)
