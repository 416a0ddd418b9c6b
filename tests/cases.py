"""Small real models, each with the role that a person gives to every parameter of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(frozen=True)
class ModelCase:
    """A model and what is true of its parameters.

    Attributes:
        name: What the case is about; the test's id.
        make: Builds the model.
        roles: Name -> role, in the order of registration, each parameter once.
        aliases: Name -> other names of a tied parameter.
        frozen: Names of parameters that are not trained.
    """

    name: str
    make: Callable[[], nn.Module]
    roles: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()

    @property
    def unknown(self) -> list[str]:
        return [name for name, role in self.roles.items() if role == "unknown"]


class CustomNorm(nn.Module):
    """A norm of somebody's own: one dimension, named as torch's are."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return x / x.norm(dim=-1, keepdim=True) * self.weight


class Mixer(nn.Module):
    """A layer of somebody's own that says nothing of what its matrix does."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(n))

    def forward(self, x):
        return x @ self.mix


class ScaledLinear(nn.Linear):
    """A subclass that adds a parameter of its own."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.logit_scale = nn.Parameter(torch.ones(()))


class TiedLanguageModel(nn.Module):
    """The output head shares the embedding's weight."""

    def __init__(self, *, is_head_first: bool) -> None:
        super().__init__()
        if is_head_first:
            self.head = nn.Linear(4, 6, bias=False)
            self.embedding = nn.Embedding(6, 4)
        else:
            self.embedding = nn.Embedding(6, 4)
            self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight


class MisleadingNames(nn.Module):
    """Names that rules by substring get wrong in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.unbiased_head = nn.Linear(3, 2, bias=False)
        self.norm_projection = nn.Linear(3, 3)
        self.embedding_mixer = nn.Conv1d(3, 3, 1, bias=False)
        self.bn1 = nn.BatchNorm1d(3)
        self.layer = nn.LayerNorm(3)
        self.words = nn.EmbeddingBag(5, 3)


class VisionToken(nn.Module):
    """A parameter held by the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.head = nn.Linear(4, 2)


def _frozen_backbone() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    return model


def _module_held_twice() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


def _parameter_held_twice() -> nn.Module:
    layer = nn.Linear(3, 3, bias=False)
    layer.kernel = layer.weight
    return nn.Sequential(layer)


def _linear(*names: str) -> dict[str, str]:
    return {f"{name}.{part}": role for name in names for part, role in (("weight", "weight"), ("bias", "bias"))}


def _norm(*names: str) -> dict[str, str]:
    return {f"{name}.{part}": "norm" for name in names for part in ("weight", "bias")}


MODELS = (
    ModelCase("mlp", lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), _linear("0", "2")),
    ModelCase(
        "conv_batch_norm",
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 1, 3), nn.PReLU()),
        {**_linear("0"), **_norm("1"), **_linear("2"), "3.weight": "scale"},
    ),
    ModelCase(
        "every_torch_norm",
        lambda: nn.Sequential(
            nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True), nn.SyncBatchNorm(4), nn.RMSNorm(4)
        ),
        {**_norm("0", "1", "2", "3"), "4.weight": "norm"},
    ),
    ModelCase(
        "transformer_encoder_layer",
        lambda: nn.TransformerEncoderLayer(4, 2, 8),
        {
            "self_attn.in_proj_weight": "weight",
            "self_attn.in_proj_bias": "bias",
            **_linear("self_attn.out_proj", "linear1", "linear2"),
            **_norm("norm1", "norm2"),
        },
    ),
    ModelCase(
        "attention_with_own_key_size",
        lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True),
        {
            "q_proj_weight": "weight",
            "k_proj_weight": "weight",
            "v_proj_weight": "weight",
            "in_proj_bias": "bias",
            "bias_k": "bias",
            "bias_v": "bias",
            **_linear("out_proj"),
        },
    ),
    ModelCase(
        "lstm_with_projection",
        lambda: nn.LSTM(3, 4, proj_size=2),
        {"weight_ih_l0": "weight", "weight_hh_l0": "weight", "bias_ih_l0": "bias", "bias_hh_l0": "bias", "weight_hr_l0": "weight"},
    ),
    ModelCase(
        "gru_bidirectional",
        lambda: nn.GRU(3, 4, bidirectional=True),
        {
            f"{part}_{gate}_l0{way}": part
            for way in ("", "_reverse")
            for part, gate in (("weight", "ih"), ("weight", "hh"), ("bias", "ih"), ("bias", "hh"))
        },
    ),
    ModelCase(
        "recurrent_cell",
        lambda: nn.GRUCell(3, 4),
        {"weight_ih": "weight", "weight_hh": "weight", "bias_ih": "bias", "bias_hh": "bias"},
    ),
    ModelCase("bilinear", lambda: nn.Sequential(nn.Bilinear(2, 3, 4)), _linear("0")),
    ModelCase(
        "tied_head",
        lambda: TiedLanguageModel(is_head_first=False),
        {"embedding.weight": "embedding"},
        aliases={"embedding.weight": ("head.weight",)},
    ),
    ModelCase(
        "tied_head_registered_first",
        lambda: TiedLanguageModel(is_head_first=True),
        {"head.weight": "embedding"},
        aliases={"head.weight": ("embedding.weight",)},
    ),
    ModelCase("module_held_twice", _module_held_twice, _linear("0"), aliases={"0.weight": ("2.weight",), "0.bias": ("2.bias",)}),
    ModelCase("custom_norm", lambda: nn.Sequential(nn.Linear(3, 3), CustomNorm(3)), {**_linear("0"), "1.weight": "norm"}),
    ModelCase("custom_layer", lambda: nn.Sequential(nn.Linear(3, 3), Mixer(3)), {**_linear("0"), "1.mix": "unknown"}),
    ModelCase("parameter_held_twice", _parameter_held_twice, {"0.weight": "unknown"}, aliases={"0.weight": ("0.kernel",)}),
    ModelCase(
        "subclass_with_more",
        lambda: nn.Sequential(ScaledLinear(3, 2)),
        {**_linear("0"), "0.logit_scale": "scale"},
    ),
    ModelCase("parameter_of_the_model", VisionToken, {"cls_token": "token", **_linear("head")}),
    ModelCase(
        "misleading_names",
        MisleadingNames,
        {
            "unbiased_head.weight": "weight",
            **_linear("norm_projection"),
            "embedding_mixer.weight": "weight",
            **_norm("bn1", "layer"),
            "words.weight": "embedding",
        },
    ),
    ModelCase("frozen_backbone", _frozen_backbone, _linear("0", "1"), frozen=("0.weight", "0.bias")),
    ModelCase("no_parameters", nn.ReLU, {}),
)
