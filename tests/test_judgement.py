"""What a parameter is where the table of types alone does not say it: parametrised, lazy, exempt, flattened, named."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.utils import parametrizations, parametrize, prune

import laws
from cases import MODELS, CustomNorm, MisleadingNames, Mixer, TiedLanguageModel
from shrinkwise.errors import ModelError
from shrinkwise.regularization.rules import Role, chosen, judgement, place, unknown_left_free
from shrinkwise.regularization.rules.roles import plain_type
from shrinkwise.seeding import isolated_rng


def roles(model):
    return {placed.name: placed.role.value for placed in place(model)}


def holding(name, *shape, type_name="Block"):
    """A module of a type called ``type_name`` that holds one parameter itself."""
    module = type(type_name, (nn.Module,), {})()
    module.register_parameter(name, nn.Parameter(torch.ones(shape)))
    return module


def role_of(module):
    (placed,) = place(module)
    return placed.role


@pytest.fixture
def alone(tmp_path):
    """A process group of one process."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "type_name", ["LlamaRMSNorm", "T5LayerNorm", "MambaRMSNormGated", "LayerNorm2d", "my_layer_norm", "GroupNorm32"]
)
def test_a_vector_of_a_type_that_is_named_as_a_norm_is_a_norm(type_name):
    (placed,) = place(holding("scale_factor", 4, type_name=type_name))
    assert placed.role is Role.NORM
    assert placed.why == f"norm by the name of its type {type_name}"
    assert role_of(holding("mixing", 4, 4, type_name=type_name)) is Role.UNKNOWN


@pytest.mark.parametrize("type_name", ["NormalHead", "Normalizer", "Enormous", "Denormal", "Block"])
def test_a_type_that_only_sounds_like_a_norm_is_none(type_name):
    assert role_of(holding("factors", 4, type_name=type_name)) is Role.UNKNOWN


BY_NAME = {
    "bias": ("bias", (4,), Role.BIAS),
    "a bias for each expert": ("down_proj_bias", (4, 4), Role.BIAS),
    "bias of attention": ("pos_bias_u", (4, 4), Role.BIAS),
    "sinks": ("sinks", (4,), Role.BIAS),
    "unbiased": ("unbiased", (4,), Role.UNKNOWN),
    "class token": ("cls_token", (1, 1, 4), Role.TOKEN),
    "register tokens": ("register_tokens", (1, 3, 4), Role.TOKEN),
    "positions": ("pos_embed", (1, 9, 4), Role.TOKEN),
    "positions without a batch": ("positional_embedding", (9, 4), Role.TOKEN),
    "positions of rows": ("rel_pos_h", (9, 4), Role.TOKEN),
    "patches": ("patch_embed", (9, 4), Role.UNKNOWN),
    "tokenizer": ("tokenizer", (9, 4), Role.UNKNOWN),
    "temperature": ("temperature", (), Role.SCALE),
    "one element": ("temperature", (1, 1), Role.SCALE),
    "logit scale": ("logit_scale", (), Role.SCALE),
    "gamma of a layer scale": ("gamma", (4, 1, 1), Role.SCALE),
    "mixing in time": ("time_mix_key", (1, 1, 4), Role.SCALE),
    "gamma of rows and columns": ("gamma", (4, 4), Role.UNKNOWN),
    "rates of a state space": ("A_log", (4, 3), Role.SCALE),
    "D alone": ("D", (4,), Role.UNKNOWN),
    "dictionary": ("D", (4, 3), Role.UNKNOWN),
}


@pytest.mark.parametrize(("name", "shape", "role"), BY_NAME.values(), ids=BY_NAME)
def test_a_name_decides_only_where_no_type_does_and_the_shape_fits(name, shape, role):
    assert role_of(holding(name, *shape)) is role


def test_no_name_makes_a_weight():
    assert Role.WEIGHT not in {*judgement._BY_NAME.values(), *judgement._VECTORS_BY_NAME.values()}


def test_the_list_that_holds_a_parameter_gives_it_its_name():
    model = nn.Module()
    model.layer_scale = nn.ParameterList([torch.ones(3)])
    model.mixes = nn.ParameterDict({"gamma": torch.ones(3, 3)})
    assert roles(model) == {"layer_scale.0": "scale", "mixes.gamma": "unknown"}


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_trap_1_a_parameter_is_keyed_by_identity_and_counts_once(case):
    """Trap 1: a tied weight belongs to several modules and counts once, under all its names."""
    model = case.make()
    placements = place(model)
    laws.assert_each_once(model, [placed.parameter for placed in placements], trained_only=False)
    names = [name for placed in placements for name in placed.names]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters(remove_duplicate=False))


def test_trap_2_the_type_decides_before_any_name():
    """Trap 2: rules by substring exempt ``unbiased_head.weight`` and miss ``bn1.weight``."""
    found = roles(MisleadingNames())
    assert found["unbiased_head.weight"] == found["norm_projection.weight"] == found["embedding_mixer.weight"] == "weight"
    assert found["bn1.weight"] == found["layer.weight"] == "norm"
    model = nn.Module()
    model.cls_token = nn.Linear(2, 2)
    model.gamma = nn.Embedding(2, 2)
    assert roles(model) == {"cls_token.weight": "weight", "cls_token.bias": "bias", "gamma.weight": "embedding"}


def test_trap_2_what_is_unknown_is_listed_and_never_guessed():
    """Trap 2: report what is unknown."""
    placements = place(nn.Sequential(nn.Linear(2, 2), Mixer(2)))
    assert [placed.name for placed in unknown_left_free(placements, {id(p.parameter) for p in chosen(placements)})] == ["1.mix"]


@pytest.mark.filterwarnings("ignore:FSDP:UserWarning", "ignore::FutureWarning")
def test_trap_3_a_flattened_parameter_is_refused(alone):
    """Trap 3: FSDP1 flattens weights, biases and norms into one parameter of one dimension."""
    flat = FullyShardedDataParallel(nn.Linear(3, 2), device_id=torch.device("cpu"))
    with pytest.raises(ModelError, match=r"_flat_param is a FlatParameter.*Place the parameters before wrapping"):
        place(flat)


@pytest.mark.filterwarnings("ignore:FSDP:UserWarning", "ignore::FutureWarning")
def test_trap_3_fsdp1_with_original_parameters_goes_by_type_and_not_by_shape(alone):
    """Trap 3: it keeps the parameters, but their shapes are no longer theirs."""
    model = nn.Sequential(nn.Linear(3, 2), Mixer(2), nn.LayerNorm(2))
    before = place(model)
    wrapped = FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
    after = place(wrapped)
    assert [(placed.name, placed.role) for placed in after] == [(placed.name, placed.role) for placed in before]
    assert {id(placed.parameter) for placed in after} == {id(placed.parameter) for placed in before}


def test_trap_3_fully_shard_changes_classes_and_parameters_but_no_role(alone):
    """Trap 3: FSDP2 replaces parameters, and makes ``FSDPCustomNorm`` of ``CustomNorm``."""
    model = nn.Sequential(nn.Linear(4, 4), CustomNorm(4), Mixer(4))
    before = place(model)
    for layer in model:
        fully_shard(layer)
    after = place(fully_shard(model))
    assert type(model[1]).__name__ == "FSDPCustomNorm"
    facts = [[(placed.name, placed.role, placed.why, placed.types) for placed in placements] for placements in (before, after)]
    assert facts[0] == facts[1]
    assert all(id(a.parameter) != id(b.parameter) for a, b in zip(after, before, strict=True))
    # Its forward works on tensors that it gathers, so a look at uses shows nothing, and claims nothing.
    assert [placed.role for placed in place(model, torch.ones(2, 4))] == [placed.role for placed in before]


def test_trap_3_fully_shard_makes_no_stranger_of_a_parametrisation(alone):
    """Trap 3: FSDP2 makes a class of its own of each step too."""
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), PARAMETRISED["custom"][0]())
    before = [(placed.name, placed.role, placed.why, placed.parametrised_by) for placed in place(model)]
    for layer in model:
        for step in layer.parametrizations.weight:
            fully_shard(step)
    assert type(model[1].parametrizations.weight[0]).__name__ == "FSDPSymmetric"
    assert [(placed.name, placed.role, placed.why, placed.parametrised_by) for placed in place(model)] == before


def test_a_checkpoint_wrapper_adds_nothing_to_a_name():
    assert roles(nn.Sequential(checkpoint_wrapper(nn.Linear(2, 2)))) == {"0.weight": "weight", "0.bias": "bias"}


class Symmetric(nn.Module):
    def forward(self, weight):
        return weight.triu() + weight.triu(1).T


def old_weight_norm(module):
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.utils.weight_norm(module)


PARAMETRISED = {
    "weight_norm": (
        lambda: parametrizations.weight_norm(nn.Linear(3, 3)),
        {"parametrizations.weight.original0": "weight", "parametrizations.weight.original1": "direction"},
    ),
    "weight_norm of an embedding": (
        lambda: parametrizations.weight_norm(nn.Embedding(3, 3)),
        {"parametrizations.weight.original0": "embedding", "parametrizations.weight.original1": "direction"},
    ),
    "weight_norm of old": (lambda: old_weight_norm(nn.Linear(3, 3)), {"weight_g": "weight", "weight_v": "direction"}),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Linear(3, 3)), {"parametrizations.weight.original": "direction"}),
    "spectral_norm of old": (lambda: nn.utils.spectral_norm(nn.Linear(3, 3)), {"weight_orig": "direction"}),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(3, 3)), {"parametrizations.weight.original": "direction"}),
    "pruned": (lambda: prune.l1_unstructured(nn.Linear(3, 3), "weight", 2), {"weight_orig": "weight"}),
    "custom": (
        lambda: parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric()),
        {"parametrizations.weight.original": "unknown"},
    ),
    "two": (
        lambda: parametrizations.spectral_norm(parametrizations.weight_norm(nn.Linear(3, 3))),
        {"parametrizations.weight.original0": "unknown", "parametrizations.weight.original1": "unknown"},
    ),
    "custom, of a bias": (
        lambda: parametrize.register_parametrization(nn.Linear(3, 3), "bias", nn.Tanh()),
        {"weight": "weight", "parametrizations.bias.original": "bias"},
    ),
}


@pytest.mark.parametrize(("make", "expected"), PARAMETRISED.values(), ids=PARAMETRISED)
def test_a_parametrised_tensor_is_judged_by_what_makes_it(make, expected):
    found = roles(make())
    assert {name: role for name, role in found.items() if name != "bias"} == expected


@pytest.mark.parametrize("name", ["weight_norm", "weight_norm of old", "spectral_norm", "spectral_norm of old"])
def test_trap_13_a_direction_is_free_since_doubling_it_changes_no_output(name):
    """Trap 13: L2 on what is scale-invariant only changes the effective learning rate."""
    with isolated_rng("judgement"):
        model = PARAMETRISED[name][0]().eval()
        x = torch.randn(5, 3)
    (direction,) = (placed for placed in place(model) if placed.role is Role.DIRECTION)
    assert direction not in chosen(place(model))
    assert "only the effective learning rate" in direction.why
    before = model(x)
    with torch.no_grad():
        direction.parameter.mul_(2)
    # The estimate of the largest singular value follows at once: u and v stay as they are.
    torch.testing.assert_close(model(x), before)


def test_trap_13_an_orthogonal_matrix_is_free_since_its_norm_stays():
    """Trap 13: whatever L2 does to what makes the matrix, the matrix keeps its norm."""
    model = PARAMETRISED["orthogonal"][0]()
    (direction,) = (placed for placed in place(model) if placed.role is Role.DIRECTION)
    assert direction not in chosen(place(model))
    with torch.no_grad():
        direction.parameter.mul_(0.5)
    torch.testing.assert_close(model.weight.square().sum(), torch.tensor(3.0))


@pytest.mark.parametrize("name", ["weight_norm", "weight_norm of old"])
def test_the_magnitude_of_weight_norm_stands_for_the_norm_of_the_weight(name):
    model = PARAMETRISED[name][0]()
    model(torch.ones(1, 3))
    (magnitude,) = chosen(place(model))
    torch.testing.assert_close(magnitude.parameter.square().sum(), model.weight.square().sum())
    assert "g² is the squared norm" in magnitude.why


def test_a_parametrised_module_keeps_the_type_that_its_author_wrote():
    placements = place(parametrizations.weight_norm(nn.LayerNorm(3), dim=None))
    assert {placed.role for placed in placements} == {Role.NORM}
    assert {placed.types for placed in placements} == {(nn.LayerNorm,)}


LAZY = {
    "linear": (lambda: nn.LazyLinear(3), nn.Linear, (2, 4)),
    "conv": (lambda: nn.LazyConv2d(3, 2), nn.Conv2d, (2, 1, 4, 4)),
    "batch norm": (lambda: nn.LazyBatchNorm1d(), nn.BatchNorm1d, (2, 4)),
}


@pytest.mark.parametrize(("make", "becomes", "shape"), LAZY.values(), ids=LAZY)
def test_a_lazy_module_has_the_roles_of_what_it_becomes(make, becomes, shape):
    model = make()
    before = place(model)
    model(torch.ones(shape))
    after = place(model)
    assert plain_type(model) is becomes
    assert [(a.name, a.role, a.why, a.types) for a in before] == [(b.name, b.role, b.why, b.types) for b in after]
    assert all(a.parameter is b.parameter for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("apply_to", ["timm", "nanogpt"])
def test_a_choice_that_counts_dimensions_refuses_a_lazy_module(apply_to):
    with pytest.raises(ModelError, match=r"weight has no shape yet.*Run the model once"):
        chosen(place(nn.LazyLinear(3, bias=False)), apply_to)


class Backbone(nn.Module):
    def __init__(self, names=("mixing.weight", "words.weight")):
        super().__init__()
        self.mixing, self.words, self.head = nn.Linear(2, 2), nn.Embedding(3, 2), nn.Linear(2, 1)
        self.names = names

    def no_weight_decay(self):
        return self.names


# torch warns of its own use of torch.jit when torch.compile is first imported.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel, torch.compile], ids=["bare", "parallel", "compile"])
def test_a_model_says_itself_what_to_leave_free_and_no_wrapper_hides_it(wrap):
    placements = place(wrap(Backbone()))
    assert [placed.name for placed in chosen(placements)] == ["head.weight"]
    assert [placed.name for placed in chosen(placements, "timm")] == ["head.weight"]
    assert [placed.name for placed in placements if placed.exempted_by == ""] == ["mixing.weight", "words.weight"]
    assert placements[0].why == "weight of Linear; free, since no_weight_decay() of Backbone names it"
    assert placements[0].role is Role.WEIGHT
    assert len(chosen(placements, "all")) == 5


def test_a_part_of_a_model_says_it_for_its_own_parameters():
    placements = place(nn.Sequential(Backbone(), nn.Linear(2, 2, bias=False)))
    assert [placed.name for placed in chosen(placements)] == ["0.head.weight", "1.weight"]
    # timm asks the whole model only.
    assert [placed.name for placed in chosen(placements, "timm")] == [
        "0.mixing.weight",
        "0.words.weight",
        "0.head.weight",
        "1.weight",
    ]


def test_a_tied_weight_is_exempt_by_any_of_its_names():
    model = TiedLanguageModel(is_head_first=True)
    model.no_weight_decay = lambda: {"embedding.weight"}
    (placed,) = place(model)
    assert placed.exempted_by == ""


@pytest.mark.parametrize("names", ["mixing.weight", 3, None])
def test_a_no_weight_decay_that_gives_no_names_is_refused(names):
    with pytest.raises(ModelError, match=r"no_weight_decay\(\) of Backbone gave.*Let it return a set of names"):
        place(Backbone(names))


class LoraLinear(nn.Linear):
    """LoRA as loralib and torchtune write it: factors held by the layer itself."""

    def __init__(self):
        super().__init__(4, 4)
        self.lora_A = nn.Parameter(torch.zeros(2, 4))
        self.lora_b = nn.Linear(2, 4)


def test_lora_factors_of_other_packages_are_known_by_the_name_that_the_method_gave_them():
    expected = {"weight": "weight", "bias": "bias", "lora_A": "lora", "lora_b.weight": "lora", "lora_b.bias": "bias"}
    placements = place(LoraLinear())
    assert {placed.name: placed.role.value for placed in placements} == expected
    assert "toward the pretrained weights" in next(placed.why for placed in placements if placed.role is Role.LORA)
    assert {placed.name for placed in chosen(placements)} == {"weight", "lora_A", "lora_b.weight"}


def test_magnitudes_of_dora_are_scales():
    from peft.tuners.lora.dora import DoraEmbeddingLayer, DoraLinearLayer

    for layer in (DoraLinearLayer(fan_in_fan_out=False), DoraEmbeddingLayer(fan_in_fan_out=False)):
        layer.weight = nn.Parameter(torch.ones(4))
        assert role_of(layer) is Role.SCALE
