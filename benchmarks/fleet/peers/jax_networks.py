"""The networks of the JAX program: for each, the parameters of K runs that start alike, and their logits on one batch they share.

A network is written for all variants of a seed at once where that is faster (the concatenated layout), or for one run, and vmapped
over the runs or mapped (one run after another) where it is (the stacked layout).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from fleet.networks import HEADS, LAYERS, WIDTH
from jax import Array, lax
from torch import nn

Tree = Any
"""Nested containers of arrays."""

Logits = Callable[[Tree, Tree, Array, Array, Array | None], tuple[Array, Tree]]
"""Parameters, statistics, a batch ``(batch, ...)``, rates ``(run,)``, the key of a mask (None in evaluation) -> logits
``(run, batch, class)`` and statistics."""


@dataclass(frozen=True)
class Network:
    """K runs of a network.

    Attributes:
        params: Parameters of one run at its start, as torch has them, by name.
        stats: Running statistics of one run, likewise.
        logits: What gives logits of all runs.
        arrange: Parameters or statistics of one run -> those of K runs that start alike, in the layout that ``logits`` takes.
        axis: Name -> where the axis ``run`` is in the layout.
    """

    params: dict[str, Array]
    stats: dict[str, Array]
    logits: Logits
    arrange: Callable[[dict[str, Array], int], dict[str, Array]]
    axis: Callable[[str], int]


def exported(model: nn.Module) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return parameters and running statistics of a torch module; matrices turned to ``(in, out)``."""
    params = {}
    for name, value in model.named_parameters():
        array = value.detach().numpy()
        params[name] = array.T.copy() if array.ndim == 2 and "position" not in name else array
    stats = {name: value.numpy() for name, value in model.named_buffers() if value.ndim}
    return params, stats


def dense_concatenated(params: Tree, stats: Tree, x: Array, rate: Array, key: Array | None) -> tuple[Array, Tree]:
    """Chain of Linear layers whose first is one wide product, weights ``(in, run, out)``."""
    layers = _layers(params)
    weight, bias = layers[0]
    n_runs, width = bias.shape
    h = (x @ weight.reshape(-1, n_runs * width)).reshape(-1, n_runs, width) + bias
    if len(layers) > 1:
        kept = None if key is None else _mask(jax.random.fold_in(key, 0), (len(x), 1, width), rate[:, None])
        h = _hidden(h, kept).transpose(1, 0, 2)
    for k, (weight, bias) in enumerate(layers[1:], 1):
        h = jnp.einsum("kbi,kio->kbo", h, weight) + bias[:, None]
        if k < len(layers) - 1:
            kept = None if key is None else _mask(jax.random.fold_in(key, k), h.shape[1:], rate[:, None, None])
            h = _hidden(h, kept)
    return h, stats


def dense(params: Tree, stats: Tree, x: Array, rate: Array, key: Array | None) -> tuple[Array, Tree]:
    """Chain of Linear layers, of one run."""
    layers = _layers(params)
    h = x
    for k, (weight, bias) in enumerate(layers):
        h = h @ weight + bias
        if k < len(layers) - 1:
            h = _hidden(h, None if key is None else _mask(jax.random.fold_in(key, k), h.shape, rate))
    return h, stats


def conv(params: Tree, stats: Tree, x: Array, rate: Array, key: Array | None) -> tuple[Array, Tree]:
    """Two convolutions with BatchNorm, by ``lax.conv_general_dilated``, of one run."""
    return _conv(params, stats, x, key is not None, _convolved)


def conv_patches(params: Tree, stats: Tree, x: Array, rate: Array, key: Array | None) -> tuple[Array, Tree]:
    """The same, each convolution a matrix product with the nine shifted images."""
    return _conv(params, stats, x, key is not None, _by_patches)


def transformer(params: Tree, stats: Tree, x: Array, rate: Array, key: Array | None) -> tuple[Array, Tree]:
    """Two blocks of attention and feed-forward, by einsum, of one run."""

    def linear(name: str, h: Array) -> Array:
        return h @ params[f"{name}.weight"] + params[f"{name}.bias"]

    def norm(name: str, h: Array) -> Array:
        h = (h - h.mean(-1, keepdims=True)) * lax.rsqrt(h.var(-1, keepdims=True) + 1e-5)
        return h * params[f"{name}.weight"] + params[f"{name}.bias"]

    h = linear("embed", x) + params["position.weight"]
    for block in (f"blocks.{k}" for k in range(LAYERS)):
        parts = linear(f"{block}.attention.into", norm(f"{block}.norm1", h)).reshape(*h.shape[:2], 3, HEADS, WIDTH // HEADS)
        query, value_of, value = parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]
        shares = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", query, value_of) / (WIDTH // HEADS) ** 0.5)
        h = h + linear(f"{block}.attention.out", jnp.einsum("bhqk,bkhd->bqhd", shares, value).reshape(h.shape))
        h = h + linear(f"{block}.down", jax.nn.relu(linear(f"{block}.up", norm(f"{block}.norm2", h))))
    return linear("head", norm("norm", h).mean(1)), stats


ONE_RUN: dict[str, dict[str, Logits]] = {
    "dense": {"stacked": dense},
    "conv": {"conv": conv, "patches": conv_patches},
    "transformer": {"stacked": transformer},
}


def network(kind: str, layout: str, runs_by: str, start: nn.Module) -> Network:
    """Return a network in a layout.

    Args:
        kind: ``dense``, ``conv`` or ``transformer``.
        layout: ``concat``, or one of :data:`ONE_RUN`.
        runs_by: ``vmap`` or ``map``: how the runs of a seed are gone through where the layout is that of one run.
        start: The torch module that all runs start as.
    """
    params, stats = ({name: jnp.asarray(value) for name, value in part.items()} for part in exported(start))
    if layout == "concat":
        first = next(iter(params))
        return Network(
            params, stats, dense_concatenated, lambda tree, n: _repeated(tree, n, first), lambda name: int(name == first)
        )
    one = ONE_RUN[kind][layout]
    return Network(params, stats, _over_runs(one, runs_by), lambda tree, n: _repeated(tree, n), lambda name: 0)


def _over_runs(one: Logits, runs_by: str) -> Logits:
    if runs_by == "vmap":
        return jax.vmap(one, in_axes=(0, 0, None, 0, None))
    return lambda params, stats, x, rate, key: lax.map(lambda run: one(run[0], run[1], x, run[2], key), (params, stats, rate))


def _repeated(tree: dict[str, Array], n: int, second: str = "") -> dict[str, Array]:
    """Repeat each array along a leading axis, that of ``second`` along axis 1."""
    return {name: jnp.repeat(jnp.expand_dims(value, int(name == second)), n, int(name == second)) for name, value in tree.items()}


def _layers(params: dict[str, Array]) -> list[tuple[Array, Array]]:
    """Return weight and bias of each layer; JAX hands a dictionary back sorted."""
    names = sorted(name.removesuffix(".weight") for name in params if name.endswith(".weight"))
    return [(params[f"{name}.weight"], params[f"{name}.bias"]) for name in names]


def _mask(key: Array, shape: tuple[int, ...], rate: Array) -> Array:
    """Return the factor of each element: 0, or 1/(1−rate); what is drawn is shared by the runs, whose rates differ."""
    return jnp.where(jax.random.uniform(key, shape) >= rate, 1 / (1 - rate), 0.0)


def _hidden(h: Array, mask: Array | None) -> Array:
    h = jax.nn.relu(h)
    return h if mask is None else h * mask


def _conv(params: Tree, stats: Tree, x: Array, is_training: bool, convolved: Callable[[Array, Array], Array]) -> tuple[Array, Tree]:
    h, kept = x.transpose(0, 2, 3, 1), {}
    for k in (1, 2):
        h = convolved(h, params[f"conv{k}.weight"].transpose(2, 3, 1, 0)) + params[f"conv{k}.bias"]
        mean, var = stats[f"norm{k}.running_mean"], stats[f"norm{k}.running_var"]
        if is_training:
            n = h.size // h.shape[-1]
            now = h.mean((0, 1, 2)), h.var((0, 1, 2))
            kept[f"norm{k}.running_mean"] = 0.9 * mean + 0.1 * now[0]
            kept[f"norm{k}.running_var"] = 0.9 * var + 0.1 * now[1] * n / (n - 1)
            mean, var = now
        h = (h - mean) * (lax.rsqrt(var + 1e-5) * params[f"norm{k}.weight"]) + params[f"norm{k}.bias"]
        h = jax.nn.relu(h)
        n, rows, columns, channels = h.shape
        h = h.reshape(n, rows // 2, 2, columns // 2, 2, channels).max((2, 4))
    h = h.transpose(0, 3, 1, 2).reshape(len(h), -1)
    return h @ params["head.weight"] + params["head.bias"], kept if is_training else stats


def _convolved(h: Array, filters: Array) -> Array:
    return lax.conv_general_dilated(h, filters, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _by_patches(h: Array, filters: Array) -> Array:
    rows, columns = h.shape[1:3]
    padded = jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, -1) @ filters.reshape(-1, filters.shape[-1])
