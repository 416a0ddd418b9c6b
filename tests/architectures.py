"""Real architectures from tiny configs, each with the role that a person gives to every parameter of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn

from shrinkwise.seeding import isolated_rng


@dataclass(frozen=True)
class Architecture:
    """A model and the hand-made list of its parameters' roles.

    Attributes:
        name: What the tests and the page call it.
        build: Builds the model.
        roles: Role -> patterns of parameter names; ``[0-1]`` stands for a range of layers.
        frozen: Pattern of the names of parameters that are not trained.
    """

    name: str
    build: Callable[[], nn.Module]
    roles: Mapping[str, str]
    frozen: Callable[[str], bool] = lambda name: False

    def make(self) -> nn.Module:
        with isolated_rng("architecture", self.name):
            return self.build()

    def by_hand(self, names: Iterable[str]) -> dict[str, str]:
        """Return the role of every name; each name is matched by exactly one entry, and each entry matches a name."""
        names = list(names)
        entries = [(pattern, role) for role, patterns in self.roles.items() for pattern in patterns.split()]
        matched = {pattern: [name for name in names if fnmatchcase(name, pattern)] for pattern, _ in entries}
        assert not [pattern for pattern in matched if not matched[pattern]]
        assert sorted(name for found in matched.values() for name in found) == sorted(names)
        return {name: role for pattern, role in entries for name in matched[pattern]}


class Block(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = nn.Sequential()
        if n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (out + self.downsample(x)).relu()


class ResNet(nn.Module):
    """The residual network of He et al. (CVPR 2016), two blocks deep."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(Block(4, 4, 1))
        self.layer2 = nn.Sequential(Block(4, 8, 2))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(self.bn1(self.conv1(x)).relu()))
        return self.fc(x.mean(dim=(2, 3)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 4, padding_idx=0)
        self.gru = nn.GRU(4, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, ids):
        return self.head(self.gru(self.words(ids))[0][:, -1])


class Attending(nn.Module):
    """Attention with keys and values of other sizes, so that torch keeps three projections."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, add_bias_kv=True, batch_first=True)
        self.head = nn.Linear(8, 3)


class Encoding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position_embedding = nn.Parameter(torch.zeros(1, 7, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder(x + self.position_embedding).mean(dim=1))


class TimmStyle(nn.Module):
    """A vision transformer that says itself what to leave free, as those of timm do; Dosovitskiy et al. (ICLR 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 8))
        self.patch_embed = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True) for _ in range(2)))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def no_weight_decay(self) -> set[str]:
        return {"pos_embed", "cls_token"}

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).mT
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 11, "n_positions": 7}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2, "vocab_size": 11}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=1))


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2, "vocab_size": 11}
    return BertForSequenceClassification(BertConfig(**sizes, max_position_embeddings=7))


def _t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(T5Config(num_layers=2, d_model=8, d_kv=4, d_ff=12, num_heads=2, vocab_size=11))


def _vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2}
    return ViTForImageClassification(ViTConfig(**sizes, image_size=8, patch_size=4))


def _mamba() -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(num_hidden_layers=2, hidden_size=8, vocab_size=11, state_size=4))


def _mixtral() -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2, "vocab_size": 11}
    return MixtralForCausalLM(MixtralConfig(**sizes, num_key_value_heads=1, num_local_experts=2))


def _wav2vec2() -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 12, "num_attention_heads": 2}
    features = {"conv_dim": [8], "conv_stride": [2], "conv_kernel": [2], "num_feat_extract_layers": 1}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    return Wav2Vec2Model(Wav2Vec2Config(**sizes, **features, **positions))


def _llama_with_lora() -> nn.Module:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        # peft reads what transformers has renamed.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(_llama(), LoraConfig(r=2, target_modules=["q_proj", "v_proj", "embed_tokens"]))


_LORA_LAYER = "base_model.model.model.layers.[0-1]."

ARCHITECTURES = (
    Architecture(
        "GPT-2 with tied head",
        _gpt2,
        {
            # The head shares the embedding's weight, so it counts as embedding.
            "embedding": "transformer.wte.weight transformer.wpe.weight",
            "weight": "transformer.h.[0-1].attn.c_attn.weight transformer.h.[0-1].attn.c_proj.weight "
            "transformer.h.[0-1].mlp.c_fc.weight transformer.h.[0-1].mlp.c_proj.weight",
            "bias": "transformer.h.[0-1].attn.c_attn.bias transformer.h.[0-1].attn.c_proj.bias "
            "transformer.h.[0-1].mlp.c_fc.bias transformer.h.[0-1].mlp.c_proj.bias",
            "norm": "transformer.h.[0-1].ln_[12].weight transformer.h.[0-1].ln_[12].bias "
            "transformer.ln_f.weight transformer.ln_f.bias",
        },
    ),
    Architecture(
        "Llama",
        _llama,
        {
            "embedding": "model.embed_tokens.weight",
            "weight": "model.layers.[0-1].self_attn.[qkvo]_proj.weight model.layers.[0-1].mlp.gate_proj.weight "
            "model.layers.[0-1].mlp.up_proj.weight model.layers.[0-1].mlp.down_proj.weight lm_head.weight",
            "norm": "model.layers.[0-1].input_layernorm.weight model.layers.[0-1].post_attention_layernorm.weight "
            "model.norm.weight",
        },
    ),
    Architecture(
        "BERT",
        _bert,
        {
            "embedding": "bert.embeddings.word_embeddings.weight bert.embeddings.position_embeddings.weight "
            "bert.embeddings.token_type_embeddings.weight",
            "weight": "bert.encoder.layer.[0-1].attention.self.query.weight bert.encoder.layer.[0-1].attention.self.key.weight "
            "bert.encoder.layer.[0-1].attention.self.value.weight bert.encoder.layer.[0-1].attention.output.dense.weight "
            "bert.encoder.layer.[0-1].intermediate.dense.weight bert.encoder.layer.[0-1].output.dense.weight "
            "bert.pooler.dense.weight classifier.weight",
            "bias": "bert.encoder.layer.[0-1].attention.self.query.bias bert.encoder.layer.[0-1].attention.self.key.bias "
            "bert.encoder.layer.[0-1].attention.self.value.bias bert.encoder.layer.[0-1].attention.output.dense.bias "
            "bert.encoder.layer.[0-1].intermediate.dense.bias bert.encoder.layer.[0-1].output.dense.bias "
            "bert.pooler.dense.bias classifier.bias",
            "norm": "bert.embeddings.LayerNorm.weight bert.embeddings.LayerNorm.bias "
            "bert.encoder.layer.[0-1].attention.output.LayerNorm.weight bert.encoder.layer.[0-1].attention.output.LayerNorm.bias "
            "bert.encoder.layer.[0-1].output.LayerNorm.weight bert.encoder.layer.[0-1].output.LayerNorm.bias",
        },
    ),
    Architecture(
        "T5",
        _t5,
        {
            # The bias by relative position is a table that distances are looked up in.
            "embedding": "shared.weight encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight "
            "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            "weight": "encoder.block.[0-1].layer.0.SelfAttention.[qkvo].weight "
            "decoder.block.[0-1].layer.0.SelfAttention.[qkvo].weight decoder.block.[0-1].layer.1.EncDecAttention.[qkvo].weight "
            "encoder.block.[0-1].layer.1.DenseReluDense.w[io].weight "
            "decoder.block.[0-1].layer.2.DenseReluDense.w[io].weight",
            "norm": "encoder.block.[0-1].layer.[0-1].layer_norm.weight decoder.block.[0-1].layer.[0-2].layer_norm.weight "
            "encoder.final_layer_norm.weight decoder.final_layer_norm.weight",
        },
    ),
    Architecture(
        "ViT",
        _vit,
        {
            "token": "vit.embeddings.cls_token vit.embeddings.position_embeddings",
            "weight": "vit.embeddings.patch_embeddings.projection.weight vit.layers.[0-1].attention.[qkvo]_proj.weight "
            "vit.layers.[0-1].mlp.fc[12].weight classifier.weight",
            "bias": "vit.embeddings.patch_embeddings.projection.bias vit.layers.[0-1].attention.[qkvo]_proj.bias "
            "vit.layers.[0-1].mlp.fc[12].bias classifier.bias",
            "norm": "vit.layers.[0-1].layernorm_before.weight vit.layers.[0-1].layernorm_before.bias "
            "vit.layers.[0-1].layernorm_after.weight vit.layers.[0-1].layernorm_after.bias vit.layernorm.weight vit.layernorm.bias",
        },
    ),
    Architecture(
        "ViT in timm's style",
        TimmStyle,
        {
            "token": "cls_token pos_embed",
            "weight": "patch_embed.weight blocks.[0-1].self_attn.in_proj_weight blocks.[0-1].self_attn.out_proj.weight "
            "blocks.[0-1].linear[12].weight head.weight",
            "bias": "patch_embed.bias blocks.[0-1].self_attn.in_proj_bias blocks.[0-1].self_attn.out_proj.bias "
            "blocks.[0-1].linear[12].bias head.bias",
            "norm": "blocks.[0-1].norm[12].weight blocks.[0-1].norm[12].bias norm.weight norm.bias",
        },
    ),
    Architecture(
        "Mamba",
        _mamba,
        {
            "embedding": "backbone.embeddings.weight",
            "weight": "backbone.layers.[0-1].mixer.conv1d.weight backbone.layers.[0-1].mixer.in_proj.weight "
            "backbone.layers.[0-1].mixer.x_proj.weight backbone.layers.[0-1].mixer.dt_proj.weight "
            "backbone.layers.[0-1].mixer.out_proj.weight",
            "bias": "backbone.layers.[0-1].mixer.conv1d.bias backbone.layers.[0-1].mixer.dt_proj.bias",
            # The rates of the state space and its skip are no matrices, though A_log has rows and columns.
            "scale": "backbone.layers.[0-1].mixer.A_log backbone.layers.[0-1].mixer.D",
            "norm": "backbone.layers.[0-1].norm.weight backbone.norm_f.weight",
        },
    ),
    Architecture(
        "Mixtral",
        _mixtral,
        {
            "embedding": "model.embed_tokens.weight",
            # The matrices of all experts stand in one tensor, which the module of the experts holds itself.
            "weight": "model.layers.[0-1].self_attn.[qkvo]_proj.weight model.layers.[0-1].mlp.gate.weight "
            "model.layers.[0-1].mlp.experts.gate_up_proj model.layers.[0-1].mlp.experts.down_proj lm_head.weight",
            "norm": "model.layers.[0-1].input_layernorm.weight model.layers.[0-1].post_attention_layernorm.weight "
            "model.norm.weight",
        },
    ),
    Architecture(
        "wav2vec 2.0",
        _wav2vec2,
        {
            "token": "masked_spec_embed",
            # One convolution is under weight_norm: its magnitude counts, its direction is free.
            "direction": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
            "weight": "encoder.pos_conv_embed.conv.parametrizations.weight.original0 feature_extractor.conv_layers.0.conv.weight "
            "feature_projection.projection.weight encoder.layers.[0-1].attention.[kvq]_proj.weight "
            "encoder.layers.[0-1].attention.out_proj.weight encoder.layers.[0-1].feed_forward.*_dense.weight",
            "bias": "encoder.pos_conv_embed.conv.bias feature_projection.projection.bias "
            "encoder.layers.[0-1].attention.[kvq]_proj.bias encoder.layers.[0-1].attention.out_proj.bias "
            "encoder.layers.[0-1].feed_forward.*_dense.bias",
            "norm": "feature_extractor.conv_layers.0.layer_norm.weight feature_extractor.conv_layers.0.layer_norm.bias "
            "feature_projection.layer_norm.weight feature_projection.layer_norm.bias encoder.layer_norm.weight "
            "encoder.layer_norm.bias encoder.layers.[0-1].layer_norm.weight encoder.layers.[0-1].layer_norm.bias "
            "encoder.layers.[0-1].final_layer_norm.weight encoder.layers.[0-1].final_layer_norm.bias",
        },
    ),
    Architecture(
        "Llama with LoRA",
        _llama_with_lora,
        {
            "embedding": "base_model.model.model.embed_tokens.base_layer.weight",
            "lora": f"base_model.model.model.embed_tokens.lora_embedding_[AB].default "
            f"{_LORA_LAYER}self_attn.[qv]_proj.lora_[AB].default.weight",
            "weight": f"{_LORA_LAYER}self_attn.[qv]_proj.base_layer.weight {_LORA_LAYER}self_attn.[ko]_proj.weight "
            f"{_LORA_LAYER}mlp.gate_proj.weight {_LORA_LAYER}mlp.up_proj.weight {_LORA_LAYER}mlp.down_proj.weight "
            "base_model.model.lm_head.weight",
            "norm": f"{_LORA_LAYER}input_layernorm.weight {_LORA_LAYER}post_attention_layernorm.weight "
            "base_model.model.model.norm.weight",
        },
        frozen=lambda name: "lora_" not in name,
    ),
    Architecture(
        "ResNet",
        ResNet,
        {
            "weight": "conv1.weight layer[12].0.conv[12].weight layer2.0.downsample.0.weight fc.weight",
            "bias": "fc.bias",
            "norm": "bn1.weight bn1.bias layer[12].0.bn[12].weight layer[12].0.bn[12].bias layer2.0.downsample.1.weight "
            "layer2.0.downsample.1.bias",
        },
    ),
    Architecture(
        "GRU",
        Recurrent,
        {
            "embedding": "words.weight",
            "weight": "gru.weight_[ih]h_l[01] gru.weight_[ih]h_l[01]_reverse head.weight",
            "bias": "gru.bias_[ih]h_l[01] gru.bias_[ih]h_l[01]_reverse head.bias",
        },
    ),
    Architecture(
        "MultiheadAttention",
        Attending,
        {
            "weight": "attention.[qkv]_proj_weight attention.out_proj.weight head.weight",
            "bias": "attention.in_proj_bias attention.bias_[kv] attention.out_proj.bias head.bias",
        },
    ),
    Architecture(
        "TransformerEncoder",
        Encoding,
        {
            "token": "position_embedding",
            "weight": "encoder.layers.[01].self_attn.in_proj_weight encoder.layers.[01].self_attn.out_proj.weight "
            "encoder.layers.[01].linear[12].weight head.weight",
            "bias": "encoder.layers.[01].self_attn.in_proj_bias encoder.layers.[01].self_attn.out_proj.bias "
            "encoder.layers.[01].linear[12].bias head.bias",
            "norm": "encoder.layers.[01].norm[12].weight encoder.layers.[01].norm[12].bias encoder.norm.weight encoder.norm.bias",
        },
    ),
)
