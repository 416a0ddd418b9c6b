"""Which parameters a key names, and which of several entries decides."""

from __future__ import annotations

import re
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from cases import TiedLanguageModel
from shrinkwise.errors import SettingError, UnplacedParameterWarning
from shrinkwise.regularization.apply import Regularizer, param_groups
from shrinkwise.regularization.rules import ApplyTo, Role, assign, chosen, place
from shrinkwise.regularization.rules.fold import fold


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


@pytest.mark.parametrize("key", ["0", "0.weight", nn.Linear, "[0]", "?.weight", Role.WEIGHT, "weights", lambda placement: True])
def test_what_decides_for_a_frozen_parameter_can_be_asked_for(key):
    model = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False)
    decided = named(model, {key: 1.0}, frozen=True)
    assert decided == named(nn.Sequential(nn.Linear(2, 2)), {key: 1.0})
    assert decided["0.weight"] == 1.0


@pytest.mark.parametrize("entries", [1.0, {"weights": 1.0}, {"blocks": 1.0, "mix": 2.0}, {"blocks.1": 1.0, "all": 0.5}])
@pytest.mark.parametrize("apply_to", get_args(ApplyTo))
def test_a_frozen_model_is_read_as_a_trained_one(entries, apply_to):
    expected = named(Encoder(), entries, apply_to=apply_to)
    frozen = Encoder().requires_grad_(False)
    assert named(frozen, entries, apply_to=apply_to, frozen=True) == expected
    assert named(frozen, entries, apply_to=apply_to) == {}


def test_a_module_key_gives_nothing_to_a_frozen_bias():
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].bias.requires_grad_(False)
    assert named(model, {"0": 1.0}, frozen=True) == {"0.weight": 1.0}


LAYERS = [f"layer.{i}.weight" for i in range(13)]
RANGES = {
    "layer.[0-11]": LAYERS[:12],
    "layer.[10-12]": LAYERS[10:],
    "layer.[8-12].weight": LAYERS[8:],
    "layer.[0,2,10-11]": [LAYERS[i] for i in (0, 2, 10, 11)],
    "layer.[9,10]": LAYERS[9:11],
    "*.[11,12]": LAYERS[11:],
    "l*r.[2-999999999999]": LAYERS[2:],
    "layer.1[0-1]": LAYERS[10:12],
    # The character sets of a shell are as they were.
    "layer.[0-3]": LAYERS[:4],
    "layer.[01]": LAYERS[:2],
    "layer.[!0-8]": LAYERS[9:10],
    "[k-m]ayer.[12][0-1]": LAYERS[10:12],
    "layer.[3,1]": [LAYERS[1], LAYERS[3]],
}


def a_stack(n: int) -> nn.Module:
    return nn.ModuleDict({"layer": nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(n))})


@pytest.mark.parametrize("key", RANGES)
def test_a_range_in_a_key_is_of_whole_numbers(key):
    assert of(a_stack(13), key) == set(RANGES[key])


@pytest.mark.parametrize("key", ["layer.[11-0]", "layer.[13-20]"])
def test_a_range_of_no_layer_names_nothing(key):
    with pytest.raises(SettingError, match="it names no module, parameter, role or module type"):
        of(a_stack(13), key)


@pytest.mark.parametrize("key", ["layer.[!0-11]", "layer.[a0-11]", "layer.[^10-11]", "layer.[0-11].[!2-10]"])
def test_a_character_set_that_was_meant_as_numbers_is_refused(key):
    with pytest.raises(SettingError, match=r"is a set of single characters.*such as \[0-11\]"):
        of(a_stack(13), key)


paths = st.lists(
    st.tuples(
        st.sampled_from(["a", "b1", "00", "7"]),
        st.integers(0, 13),
        st.sampled_from(["x", "10"]),
        st.sampled_from(["0", "1", "01", "12"]),
    ),
    unique=True,
    min_size=1,
    max_size=30,
)


def tree_of(written) -> nn.Module:
    model = nn.Module()
    for name in written:
        *path, leaf = name.split(".")
        holder = model
        for part in path:
            if part not in holder._modules:
                holder.add_module(part, nn.Module())
            holder = holder._modules[part]
        holder.add_module(leaf, nn.Linear(1, 1))
    return model


@given(paths=paths, depth=st.integers(0, 3))
def test_what_folding_prints_is_a_key_for_just_what_was_folded(paths, depth):
    modules = [".".join(map(str, path)) for path in paths]
    model = tree_of(modules)
    for suffix, end in (("", ".weight"), (".weight", ".weight"), (".bias", ".bias")):
        written = [module + suffix for module in modules]
        for key, positions in fold(written, depth=depth):
            assert of(model, key) == {modules[i] + end for i in positions}


def symmetric() -> nn.Module:
    class Symmetric(nn.Module):
        def forward(self, weight):
            return weight + weight.T

    return parametrize.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())


def hooked(make, *arguments) -> nn.Module:
    with pytest.warns(FutureWarning, match="weight_norm"):
        return make(*arguments)


PART = "0.parametrizations.weight.original"
PARAMETRISED = {
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(2, 2)), {f"{PART}0"}),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Linear(2, 2)), {PART}),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(2, 2)), {PART}),
    "custom": (symmetric, {PART}),
    "weight_norm of old": (lambda: hooked(nn.utils.weight_norm, nn.Linear(2, 2)), {"0.weight_g"}),
    "spectral_norm of old": (lambda: nn.utils.spectral_norm(nn.Linear(2, 2)), {"0.weight_orig"}),
    "pruned": (lambda: nn.utils.prune.identity(nn.Linear(2, 2), "weight"), {"0.weight_orig"}),
}


@pytest.mark.parametrize(("make", "parts"), PARAMETRISED.values(), ids=PARAMETRISED)
def test_a_parametrised_tensor_answers_to_its_plain_name(make, parts):
    """What a user knows is ``0.weight``; torch's names for what makes it are its own affair."""
    model = nn.Sequential(make(), nn.Linear(2, 2))
    assert of(model, "0.weight") == parts
    assert of(model, "*.weight") == parts | {"1.weight"}
    assert of(model, "[0-1].weight") == parts | {"1.weight"}
    assert of(model, "*.bias") == {"0.bias", "1.bias"}
    assert {*of(model, "0", apply_to="all")} == {name for name, _ in model[0].named_parameters(prefix="0")}
    for part, _ in model[0].named_parameters(prefix="0"):
        assert of(model, part) == {part}
    for no_module in ("0.parametrizations", "0.parametrizations.weight", "*.parametrizations"):
        with pytest.raises(SettingError, match="it names no module, parameter"):
            of(model, no_module)


def test_a_parametrised_parameter_of_the_model_itself_answers_to_its_plain_name():
    assert of(parametrizations.weight_norm(nn.Linear(2, 2)), "weight") == {"parametrizations.weight.original0"}


class LowRank(nn.Module):
    """LoRA written as a parametrisation, with its factors in a module of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.lora_A, self.lora_B = nn.Parameter(torch.ones(1, 2)), nn.Parameter(torch.zeros(2, 1))

    def forward(self, weight):
        return weight + self.lora_B @ self.lora_A


def test_parameters_of_a_parametrisation_are_part_of_the_tensor_and_not_of_a_module_called_weight():
    model = nn.Sequential(parametrize.register_parametrization(nn.Linear(2, 2), "weight", LowRank()), nn.Linear(2, 2))
    factors = {f"0.parametrizations.weight.0.lora_{side}" for side in "AB"}
    assert of(model, "0.weight") == factors | {PART}
    assert of(model, "*.weight") == factors | {PART, "1.weight"}
    assert of(model, "0") == factors


def test_a_module_that_a_user_called_parametrizations_is_one():
    model = nn.ModuleDict({"parametrizations": nn.ModuleDict({"weight": nn.Linear(2, 2)})})
    assert of(model, "parametrizations.weight") == {"parametrizations.weight.weight"}


def test_a_module_of_the_model_is_a_key_for_the_weights_inside_it():
    model = Encoder()
    assert named(model, {model.head: 1.0}) == {"head.weight": 1.0}
    assert of(model, model.blocks[1]) == {name for name in WEIGHTS if name.startswith("blocks.1.")}
    assert of(model, model) == WEIGHTS
    assert of(nn.DataParallel(model), model.head) == {"head.weight"}
    assert of(model, nn.DataParallel(model)) == WEIGHTS
    assert of(model, model.head, apply_to="all") == {"head.weight", "head.bias"}
    model.requires_grad_(False)
    assert named(model, {model.head: 1.0}) == {}
    assert named(model, {model.head: 1.0}, frozen=True) == {"head.weight": 1.0}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_module_is_found_in_a_compiled_model():
    model = Encoder()
    assert of(torch.compile(model), model.blocks[0].attention.query) == {"blocks.0.attention.query.weight"}


def test_a_module_is_as_specific_as_its_name():
    model = Encoder()
    block = model.blocks[0]
    path = [model, model.blocks, block, block.mlp, block.mlp[0]]
    names_of = ["", "blocks", "blocks.0", "blocks.0.mlp", "blocks.0.mlp.0"]
    for i, module in enumerate(path):
        for j, name in enumerate(names_of[1:], 1):
            for entries in ({module: "module", name: "name"}, {name: "name", module: "module"}):
                last = list(entries.values())[-1]
                expected = last if i == j else ("module" if i > j else "name")
                assert named(model, entries)["blocks.0.mlp.0.weight"] == expected
    assert named(model, {block.mlp[0]: 1, "blocks.0.mlp.0.weight": 2, "blocks.?.mlp": 3})["blocks.0.mlp.0.weight"] == 2
    assert named(model, {"blocks.?.mlp": 3, model: 1})["blocks.0.mlp.0.weight"] == 1


def test_a_tied_weight_is_inside_each_module_that_holds_it():
    model = TiedLanguageModel(is_head_first=False)
    assert named(model, {model.head: 1.0}, apply_to="all") == {"embedding.weight": 1.0}


def test_a_module_of_parametrised_tensors_is_a_key_too():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)), nn.Linear(2, 2))
    assert of(model, model[0]) == {f"{PART}0"}
    assert of(model, model[0].parametrizations.weight) == {f"{PART}0"}


def test_a_module_that_holds_more_than_the_model_means_what_it_shares():
    model = Encoder()
    assert of(model, nn.Sequential(model.head, nn.Linear(2, 2))) == {"head.weight"}


NO_KEYS = {
    "of another model": (lambda model: Encoder().head, r"the key the module Linear: it holds no parameter of this model"),
    "without parameters": (lambda model: model.blocks[0].mlp[1], r"the key the module ReLU: it holds no parameter of this model"),
    "without weights": (
        lambda model: model.blocks[0].norm,
        r"the key the module LayerNorm: .*no parameter that apply_to='weights' chooses.*'blocks.0.norm.weight'",
    ),
}


@pytest.mark.parametrize(("key", "message"), NO_KEYS.values(), ids=NO_KEYS)
def test_a_module_that_is_no_key_is_refused(key, message):
    model = Encoder()
    with pytest.raises(SettingError, match=message):
        named(model, {key(model): 0.1})


@pytest.mark.parametrize("answer", [None, "yes", 1, [], re.match("a", "a"), torch.ones(2, dtype=torch.bool)], ids=repr)
def test_a_predicate_that_answers_neither_yes_nor_no_is_refused(answer):
    def is_meant(placement):
        return answer

    with pytest.raises(SettingError, match=r"key <function .*is_meant.*it answered .* Let it return True or False"):
        named(Encoder(), {is_meant: 0.1})


@pytest.mark.parametrize("answer", [True, np.True_, torch.tensor(True), torch.tensor([True])], ids=repr)
def test_what_numpy_and_torch_call_true_is_an_answer(answer):
    assert set(named(Encoder(), {lambda placement: answer: 0.1})) == set(NAMES)


def test_what_a_predicate_raises_is_its_own_affair():
    with pytest.raises(AttributeError, match="shap"):
        named(Encoder(), {lambda placement: placement.shap: 0.1})


@pytest.mark.parametrize("use", [lambda e, m: Regularizer(l2=e).bind(m), lambda e, m: param_groups(m, e), lambda e, m: named(m, e)])
def test_an_empty_mapping_is_refused_since_it_penalises_nothing(use):
    with pytest.raises(SettingError, match=r" is \{\}: it has no key.*Give 0.*or a key"):
        use({}, Encoder())


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
    "number": (3, r"a key is a name, a glob, a role, a module or its type, or a function"),
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
