"""A JAX program as an expert would write it by hand: all variants of a seed share each batch, and one ``jit`` holds the training.

Steps are scanned, epochs are scanned around them, the evaluation after each epoch is inside, seeds are mapped or vmapped. Rows are
gathered by index out of one copy of the data. A last batch that is smaller is filled up with rows of no weight, since to compile a
step of another length takes longer. Masks are drawn by ``jax.random``, once for all variants of a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from fleet.outcomes import Outcome, settings
from fleet.peers.jax_networks import Network, Tree, network
from fleet.workloads import BATCH, LR, MOMENTUM, Workload, is_penalised
from jax import Array, lax

Data = tuple[Array, Array, Array, Array]
"""Rows and targets, test rows and targets."""

CHUNK = 1024
"""Rows that are evaluated at a time."""


def train(workload: Workload, mode: str) -> list[Outcome]:
    """Train every run.

    Args:
        workload: What is to be trained.
        mode: Layout, how the runs of a seed are gone through, and how the seeds are, such as ``concat-vmap-map``.
    """
    layout, runs_by, seeds_by = mode.split("-")
    starts = [workload.start(seed) for seed in workload.seeds]
    rows = _rows(workload)
    networks = [network(workload.size.kind, layout, runs_by, start) for start in starts]
    if workload.size.kind == "conv" and rows[0].shape[2] % BATCH:
        raise ValueError(f"{workload.name}: rows of no weight would be seen by a BatchNorm")
    params, stats = _stacked([net.params for net in networks]), _stacked([net.stats for net in networks])
    keys = jax.random.split(jax.random.key(0, impl="unsafe_rbg"), workload.n_seeds)
    penalised = {name for name, value in starts[0].named_parameters() if is_penalised(name, value)}
    program = jax.jit(_over_seeds(Program(workload, networks[0], penalised).train, seeds_by))
    curves, (test_loss, test_accuracy) = jax.device_get(program(_data(workload), (params, stats, *rows, keys)))
    train_loss, val_loss, val_accuracy = curves
    return [
        Outcome(
            *settings(variant),
            seed,
            tuple(train_loss[seed, :, k].tolist()),
            tuple(val_loss[seed, :, k].tolist()),
            tuple(val_accuracy[seed, :, k].tolist()),
            float(test_loss[seed, k]),
            float(test_accuracy[seed, k]),
        )
        for seed in workload.seeds
        for k, variant in enumerate(workload.variants)
    ]


def _stacked(trees: list[Tree]) -> Tree:
    return jax.tree.map(lambda *parts: jnp.stack(parts), *trees)


def _data(workload: Workload) -> Data:
    """Return rows and targets of the data set and of its test part, where it has one."""
    given = workload.dataset.x, workload.dataset.y
    (x, y), (x_test, y_test) = given, workload.dataset.test or given
    return jnp.asarray(x), jnp.asarray(y.astype(np.int32)), jnp.asarray(x_test), jnp.asarray(y_test.astype(np.int32))


def _rows(workload: Workload) -> list[Array]:
    """Return training rows in the order of each epoch, ``(seed, epoch, n)``, validation and test rows, ``(seed, n)``."""
    parts = []
    for seed in workload.seeds:
        train, val, test = workload.rows(seed)
        orders = [workload.order(seed, epoch, len(train)).numpy() for epoch in range(1, workload.epochs + 1)]
        parts.append((np.stack([train[order] for order in orders]), val, test))
    return [jnp.asarray(np.stack(part).astype(np.int32)) for part in zip(*parts, strict=True)]


def _over_seeds(train_seed: Callable[..., Any], seeds_by: str) -> Callable[[Data, Tree], Any]:
    """Return what trains all seeds: ``vmap``, ``map`` (one after another), or a number of devices that share them."""
    if seeds_by == "vmap":
        return jax.vmap(train_seed, in_axes=(None, 0))

    def one_by_one(data: Data, given: Tree) -> Any:
        return lax.map(lambda seed: train_seed(data, seed), given)

    if seeds_by == "map":
        return one_by_one
    mesh = jax.make_mesh((int(seeds_by),), ("seed",), axis_types=(jax.sharding.AxisType.Auto,))
    specs = (jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("seed"))
    return jax.shard_map(one_by_one, mesh=mesh, in_specs=specs, out_specs=specs[1], check_vma=False)


class Program:
    """The training of all variants of one seed.

    Args:
        workload: What is to be trained.
        net: The runs of a seed.
        penalised: Names of the parameters that L2 acts on.
    """

    def __init__(self, workload: Workload, net: Network, penalised: set[str]) -> None:
        self.net, self.penalised = net, penalised
        self.lam, self.rate = (jnp.array(values) for values in zip(*map(settings, workload.variants), strict=True))

    def train(self, data: Data, given: Tree) -> Any:
        """Train from the start; return curves ``(epoch, run)`` and the test outcome ``(run,)``."""
        x, y, x_test, y_test = data
        params, stats, rows, val_rows, test_rows, key = given
        params, stats = self.net.arrange(params, len(self.lam)), self.net.arrange(stats, len(self.lam))
        n = rows.shape[1]
        seen = jnp.concatenate([rows[0], val_rows])
        n_steps = -(-n // BATCH)
        weight = _padded(jnp.ones((1, n)), BATCH)[0] / jnp.minimum(BATCH, n - BATCH * jnp.arange(n_steps))[:, None]

        def step(state: Tree, batch: tuple[Array, Array, Array]) -> tuple[Tree, None]:
            rows, weight, key = batch
            return self._step(state, x[rows], y[rows], weight, key), None

        def epoch(state: Tree, given: tuple[Array, Array]) -> tuple[Tree, tuple[Array, Array, Array]]:
            rows, key = given
            state, _ = lax.scan(step, state, (rows, weight, jax.random.split(key, n_steps)))
            losses, hits = self._measured(state, x, y, seen)
            return state, (losses[:n].mean(0), losses[n:].mean(0), hits[n:].mean(0))

        start = (params, jax.tree.map(jnp.zeros_like, params), stats)
        state, curves = lax.scan(epoch, start, (_padded(rows, BATCH), jax.random.split(key, len(rows))))
        return curves, [values.mean(0) for values in self._measured(state, x_test, y_test, test_rows)]

    def _step(self, state: Tree, x: Array, y: Array, weight: Array, key: Array) -> Tree:
        params, velocity, stats = state
        gradients, stats = jax.grad(self._loss, has_aux=True)(params, stats, x, y, weight, key)
        velocity = {name: MOMENTUM * velocity[name] + gradients[name] + self._decay(name, params[name]) for name in params}
        return {name: params[name] - LR * velocity[name] for name in params}, velocity, stats

    def _loss(self, params: Tree, stats: Tree, x: Array, y: Array, weight: Array, key: Array) -> tuple[Array, Tree]:
        logits, stats = self.net.logits(params, stats, x, self.rate, key)
        return (_losses(logits, y) * weight).sum(), stats

    def _decay(self, name: str, value: Array) -> Array | float:
        if name not in self.penalised:
            return 0.0
        shape = [1] * value.ndim
        shape[self.net.axis(name)] = len(self.lam)
        return self.lam.reshape(shape) * value

    def _measured(self, state: Tree, x: Array, y: Array, rows: Array) -> tuple[Array, Array]:
        """Return the loss of each row for each run, and whether it is right, ``(n, run)``."""
        params, _, stats = state
        n = len(rows)

        def part(rows: Array) -> tuple[Array, Array]:
            logits, _ = self.net.logits(params, stats, x[rows], self.rate, None)
            return _losses(logits, y[rows]).T, (logits.argmax(-1) == y[rows]).T

        # Chunks of one length, the last one padded by as little as can be: a rest of another length is compiled anew.
        chunks = _padded(rows[None], -(-n // -(-n // CHUNK)))[0]
        losses, hits = (values.reshape(-1, len(self.lam))[:n] for values in lax.map(part, chunks))
        return losses, hits


def _padded(values: Array, length: int) -> Array:
    """Cut axis 1 into pieces of a length, the last filled up with zeros: ``(m, n)`` -> ``(m, pieces, length)``."""
    filled = jnp.pad(values, ((0, 0), (0, -values.shape[1] % length)))
    return filled.reshape(len(values), -1, length)


def _losses(logits: Array, y: Array) -> Array:
    """Return the cross-entropy of each row, ``(run, batch)``."""
    shares = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(shares, jnp.broadcast_to(y[None, :, None], (*logits.shape[:2], 1)), 2)[..., 0]
