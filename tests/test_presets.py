"""Choices of parameters by name are those of the libraries that they are named after, and the page about them is true."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import presets_page
from architectures import ARCHITECTURES, TimmStyle
from cases import MODELS
from shrinkwise.errors import SettingError
from shrinkwise.regularization.rules import chosen, disagreements, place

every_model = pytest.mark.parametrize("case", [*MODELS, *ARCHITECTURES], ids=lambda case: case.name)
OTHERS = presets_page.OTHERS


def names(model, apply_to):
    return {placed.name for placed in chosen(place(model), apply_to)}


@every_model
def test_nanogpt_decays_what_has_two_dimensions(case):
    model = case.make()
    assert names(model, "nanogpt") == {name for name, p in model.named_parameters() if p.dim() >= 2 and p.requires_grad}


@every_model
def test_torch_decays_what_the_optimiser_is_given(case):
    model = case.make()
    assert names(model, "torch") == {name for name, p in model.named_parameters() if p.requires_grad}


@every_model
def test_timm_frees_vectors_and_biases_by_the_end_of_their_names(case):
    model = case.make()
    asked = getattr(model, "no_weight_decay", set)()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad and name not in asked}
    assert names(model, "timm") == {name for name, p in trained.items() if p.dim() >= 2 and not name.endswith(".bias")}


def test_timm_frees_the_tokens_of_a_model_that_asks_for_it_and_no_other_choice_of_others_does():
    model = TimmStyle()
    assert {"cls_token", "pos_embed"}.isdisjoint(names(model, "timm"))
    assert all({"cls_token", "pos_embed"} <= names(model, other) for other in ("huggingface", "nanogpt", "torch"))


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_huggingface_is_the_real_trainers_choice_on_the_small_models_too(case):
    from transformers import Trainer

    model = case.make()
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names(model, "huggingface") == decayed & trained


def named(**children):
    model = nn.Module()
    for name, child in children.items():
        model.add_module(name, child)
    return model


def test_timm_frees_a_bias_of_rows_and_columns_only_inside_a_module():
    layer = nn.Module()
    layer.bias = nn.Parameter(torch.ones(2, 2))
    assert names(layer, "timm") == {"bias"}
    assert names(named(layer=layer), "timm") == set()


HF_NAMES = {
    "the model itself is a norm": lambda: nn.LayerNorm(3),
    "norm as a part": lambda: named(norm=nn.BatchNorm1d(3), norm_f=nn.BatchNorm1d(3), prenorm=nn.BatchNorm1d(3)),
    "norm at an end": lambda: named(q_norm=nn.RMSNorm(3), LayerNorm_2=nn.RMSNorm(3), NORM=nn.RMSNorm(3)),
    "bias anywhere": lambda: named(unbiased_head=nn.Linear(3, 3), debias=nn.Linear(3, 3, bias=False)),
    "norm parametrised": lambda: named(layer=nn.utils.parametrizations.weight_norm(nn.LayerNorm(3), dim=None)),
    "parts deep inside": lambda: named(block=named(norm=nn.Sequential(nn.Linear(3, 3)), other=nn.Sequential(nn.LayerNorm(3)))),
}


@pytest.mark.parametrize("make", HF_NAMES.values(), ids=HF_NAMES)
def test_huggingface_reads_names_as_the_real_trainer_does(make):
    from transformers import Trainer

    model = make()
    assert names(model, "huggingface") == set(Trainer.get_decay_parameter_names(None, model))


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras

    return keras


def keras_pairs(keras):
    """Layers of Keras with a ``kernel_regularizer``, the same in torch, and the names of the variables that are one."""
    layers, l2 = keras.layers, {"kernel_regularizer": "l2"}
    plain = {"weight": "kernel", "bias": "bias"}
    recurrent = {"weight_ih_l0": "kernel", "weight_hh_l0": "recurrent_kernel", "bias_ih_l0": "bias", "bias_hh_l0": "bias"}
    cell = {name.removesuffix("_l0"): variable for name, variable in recurrent.items()}
    return [
        (layers.Dense(3, **l2), (2, 4), nn.Linear(4, 3), plain),
        (layers.Conv1D(3, 2, **l2), (2, 5, 4), nn.Conv1d(4, 3, 2), plain),
        (layers.Conv2D(3, 2, **l2), (2, 5, 5, 4), nn.Conv2d(4, 3, 2), plain),
        (layers.Conv2DTranspose(3, 2, **l2), (2, 5, 5, 4), nn.ConvTranspose2d(4, 3, 2), plain),
        (layers.GRU(3, **l2), (2, 5, 4), nn.GRU(4, 3), recurrent),
        (layers.LSTM(3, **l2), (2, 5, 4), nn.LSTM(4, 3), recurrent),
        (layers.SimpleRNN(3, **l2), (2, 5, 4), nn.RNN(4, 3), recurrent),
        (layers.GRU(3, **l2), (2, 5, 4), nn.GRUCell(4, 3), cell),
        (layers.Embedding(3, 4), (2, 5), nn.Embedding(3, 4), {"weight": "embeddings"}),
        (layers.LayerNormalization(), (2, 4), nn.LayerNorm(4), {"weight": "gamma", "bias": "beta"}),
        (layers.BatchNormalization(), (2, 4), nn.BatchNorm1d(4), {"weight": "gamma", "bias": "beta"}),
        (layers.PReLU(), (2, 4), nn.PReLU(4), {"weight": "alpha"}),
    ]


def test_keras_is_what_a_kernel_regularizer_on_every_layer_reaches(keras):
    for layer, shape, module, variables in keras_pairs(keras):
        layer.build(shape)
        regularised = {variable.name for variable in layer.trainable_variables if variable.regularizer is not None}
        assert {variable.name for variable in layer.trainable_variables} == set(variables.values())
        assert {variables[name] for name in names(module, "keras")} == regularised, layer
        assert names(module, "keras") == {name for name, variable in variables.items() if variable in regularised}


def test_keras_regularises_lora_factors_as_their_kernel(keras):
    layer = keras.layers.Dense(3, kernel_regularizer="l2")
    layer.build((2, 4))
    layer.enable_lora(2)
    factors = {variable.name for variable in layer.trainable_variables if variable.regularizer is not None}
    assert factors == {"lora_kernel_a", "lora_kernel_b"}
    ours = nn.Linear(4, 3).requires_grad_(False)
    ours.lora_A, ours.lora_B = nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)
    assert names(ours, "keras") == {"lora_A.weight", "lora_B.weight"}


def test_an_optimiser_of_keras_decays_everything(keras):
    model = keras.Sequential([keras.layers.Embedding(3, 4), keras.layers.LayerNormalization(), keras.layers.Dense(2)])
    model.build((2, 5))
    optimizer = keras.optimizers.AdamW(weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    assert all(optimizer._use_weight_decay(variable) for variable in model.trainable_variables)


@every_model
@pytest.mark.parametrize("other", ["all", *OTHERS])
def test_disagreements_are_where_two_choices_differ(case, other):
    placements = place(case.make())
    found = disagreements(placements, "weights", other)
    by_name = {each.placement.name: each.penalised_by for each in found}
    default, others = ({placed.name for placed in chosen(placements, choice)} for choice in ("weights", other))
    assert by_name == {name: "weights" if name in default else other for name in default ^ others}
    assert all({each.penalised_by, each.free_by} == {"weights", other} for each in found)
    mirrored = disagreements(placements, other, "weights")
    assert [(each.placement, each.penalised_by, each.free_by) for each in mirrored] == [
        (each.placement, each.penalised_by, each.free_by) for each in found
    ]


def test_a_disagreement_is_said_in_a_line_that_gives_the_reason():
    model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2))
    (line,) = map(str, disagreements(place(model), "weights", "huggingface"))
    assert line == "1.weight (norm of BatchNorm1d): huggingface penalises it, weights does not"
    with pytest.raises(SettingError, match="Did you mean 'timm'"):
        disagreements((), "weights", "tim")


def test_a_choice_follows_what_is_frozen_later():
    model = nn.Linear(2, 2)
    placements = place(model)
    model.weight.requires_grad_(False)
    assert chosen(placements) == ()


def test_the_page_prints_the_tables_of_the_code():
    page = presets_page.PAGE.read_text()
    assert page == presets_page.with_tables(page)
    assert page.count("<!-- errors -->") == page.count("<!-- taste -->") == 1


def test_the_page_counts_both_tensors_and_numbers():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    assert presets_page.counted(place(model)) == "1 bias (2), 2 norms (4), 1 weight (6)"
    assert torch.numel(model[0].weight) == 6
