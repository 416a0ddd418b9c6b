"""Which dimensions of a weight count units, and what makes a weight of a parameter."""

from __future__ import annotations

import importlib
import re
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from architectures import ARCHITECTURES
from cases import CustomNorm
from shrinkwise.regularization.rules import place
from shrinkwise.seeding import isolated_rng


def units(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {placed.name: placed.unit_dims for placed in place(model)}


def _conv1d() -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    return Conv1D(4, 3)


LAYERS = {
    "Linear": (lambda: nn.Linear(3, 4), (2, 3), -1),
    "transformers' Conv1D": (_conv1d, (2, 3), -1),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 2), (2, 3, 7), 1),
    "Conv2d in groups": (lambda: nn.Conv2d(6, 4, 2, groups=2), (2, 6, 7, 7), 1),
    "Conv3d": (lambda: nn.Conv3d(3, 4, 2), (2, 3, 4, 4, 4), 1),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(3, 4, 2), (2, 3, 7), 1),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 4, 2), (2, 3, 7, 7), 1),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(3, 4, 2), (2, 3, 4, 4, 4), 1),
}


@pytest.mark.parametrize(("make", "shape", "channels"), LAYERS.values(), ids=LAYERS)
def test_the_weights_of_a_unit_change_that_output_alone(make, shape, channels):
    with isolated_rng("layouts"):
        layer, x = make(), torch.randn(shape)
    before = layer(x)
    for placed in place(layer):
        for unit in product(*(range(placed.parameter.shape[dim]) for dim in placed.unit_dims)):
            index: list[slice | int] = [slice(None)] * placed.parameter.ndim
            for dim, i in zip(placed.unit_dims, unit, strict=True):
                index[dim] = i
            with torch.no_grad():
                placed.parameter[tuple(index)] += 1
            after = layer(x)
            with torch.no_grad():
                placed.parameter[tuple(index)] -= 1
            changed = (after - before).abs().movedim(channels, 0).flatten(1).amax(dim=1) > 1e-3
            assert changed.nonzero().squeeze(1).tolist() == [unit[0]]


SIZES = {"num_local_experts": 2, "num_experts": 2, "moe_num_experts": 2, "hidden_size": 8, "intermediate_size": 5}
EXPERTS = {
    "mixtral.MixtralExperts": "MixtralConfig",
    "gpt_oss.GptOssExperts": "GptOssConfig",
    "aria.AriaExperts": "AriaTextConfig",
    "llama4.Llama4TextExperts": "Llama4TextConfig",
    "openai_privacy_filter.OpenAIPrivacyFilterExperts": "OpenAIPrivacyFilterConfig",
}


@pytest.mark.parametrize("kind", EXPERTS)
def test_each_expert_has_units_of_its_own_however_its_matrix_lies(kind):
    family, type_name = kind.split(".")
    package = f"transformers.models.{family}"
    config = getattr(importlib.import_module(f"{package}.configuration_{family}"), EXPERTS[kind])()
    for name, size in {**SIZES, "moe_num_experts": 2}.items():
        setattr(config, name, size)
    experts = getattr(importlib.import_module(f"{package}.modeling_{family}"), type_name)(config)
    n_units = {"gate_up_proj": 10, "down_proj": 8, "gate_up_proj_bias": 10, "down_proj_bias": 8}
    placements = place(experts)
    assert {"gate_up_proj", "down_proj"} <= {placed.name for placed in placements}
    for placed in placements:
        assert tuple(placed.parameter.shape[dim] for dim in placed.unit_dims) == (2, n_units[placed.name]), placed.name


def test_the_table_knows_every_type_of_experts_that_transformers_stores_transposed():
    import transformers

    pattern = re.compile(r"use_experts_implementation\([^)]*is_transposed=True[^)]*\)\s*class (\w+)")
    files = Path(transformers.__file__).parent.glob("models/*/modeling_*.py")
    found = {(file.parent.name, name) for file in files for name in pattern.findall(file.read_text())}
    assert {f"{family}.{name}" for family, name in found} == {
        name for name in EXPERTS if not name.startswith(("mixtral", "llama4"))
    }


def test_experts_of_one_matrix_each_in_a_stack():
    from transformers.models.jetmoe.modeling_jetmoe import JetMoeParallelExperts

    assert units(JetMoeParallelExperts(2, 3, 4)) == {"weight": (0, 1)}


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda case: case.name)
def test_most_layers_store_their_units_first(architecture):
    for placed in place(architecture.make()):
        is_transposed = placed.module_type == "Conv1D" and placed.name.endswith("weight")
        expected = (1,) if is_transposed else (0, 1) if placed.module_type == "MixtralExperts" else (0,)
        assert placed.unit_dims == expected


def test_the_reason_says_where_the_units_are():
    assert place(_conv1d())[0].why == "weight of Conv1D, its units in dimension 1"
    assert place(_conv1d())[1].why == "bias of Conv1D"


def test_a_number_has_no_dimension_of_units():
    model = nn.Module()
    model.logit_scale = nn.Parameter(torch.ones(()))
    assert units(model) == {"logit_scale": ()}


def test_the_parts_of_a_weight_keep_the_dimensions_of_the_weight():
    for dim in (0, 1):
        layer = parametrizations.weight_norm(nn.ConvTranspose1d(3, 4, 2), dim=dim)
        assert units(layer) == {
            "bias": (0,),
            "parametrizations.weight.original0": (1,),
            "parametrizations.weight.original1": (1,),
        }
    assert units(parametrizations.weight_norm(_conv1d(), dim=None))["parametrizations.weight.original0"] == ()
    assert units(parametrizations.spectral_norm(_conv1d()))["parametrizations.weight.original"] == (1,)
    assert units(prune.l1_unstructured(_conv1d(), "weight", 2))["weight_orig"] == (1,)
    with pytest.warns(FutureWarning, match="weight_norm"):
        assert units(nn.utils.weight_norm(_conv1d()))["weight_g"] == (1,)


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def old_weight_norm(module):
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.utils.weight_norm(module)


def doubled(module, tensor="weight"):
    return parametrize.register_parametrization(module, tensor, Doubled())


MADE_BY = {
    "plain": (lambda: nn.Linear(3, 3), {"weight": None}),
    "weight_norm": (
        lambda: parametrizations.weight_norm(nn.Linear(3, 3)),
        {"original0": "weight_norm", "original1": "weight_norm"},
    ),
    "weight_norm of old": (lambda: old_weight_norm(nn.Linear(3, 3)), {"weight_g": "weight_norm", "weight_v": "weight_norm"}),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Linear(3, 3)), {"original": "spectral_norm"}),
    "spectral_norm of old": (lambda: nn.utils.spectral_norm(nn.Linear(3, 3)), {"weight_orig": "spectral_norm"}),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(3, 3)), {"original": "orthogonal"}),
    "custom": (lambda: doubled(nn.Linear(3, 3)), {"original": "Doubled"}),
    "two": (lambda: doubled(doubled(nn.Linear(3, 3))), {"original": "Doubled and Doubled"}),
    "of a bias": (lambda: doubled(nn.Linear(3, 3), "bias"), {"weight": None, "original": "Doubled"}),
    "of a norm": (lambda: doubled(CustomNorm(3)), {"original": "Doubled"}),
    # Where the mask lets it through, it is the weight itself.
    "pruned": (lambda: prune.l1_unstructured(nn.Linear(3, 3), "weight", 2), {"weight_orig": None}),
}


@pytest.mark.parametrize(("make", "expected"), MADE_BY.values(), ids=MADE_BY)
def test_a_parameter_that_only_makes_a_weight_says_by_what(make, expected):
    found = {placed.name.rpartition(".")[2]: placed.parametrised_by for placed in place(make())}
    assert {name: by for name, by in found.items() if name != "bias"} == expected
    assert found.get("bias") is None
