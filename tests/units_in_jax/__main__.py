"""Trains the network of test_units_real.py in Keras (on JAX) and in Optax, in a process of its own: both settings are global.

Called with a NumPy archive of the problem and of each unit's value; writes an archive of weights, one entry a trainer.
"""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax

PROBLEM = dict(np.load(sys.argv[1]))
LR, EPS, MOMENTUM, N_EPOCHS, BATCH = 0.05, 1e-12, 0.9, 5, 30
X, Y = PROBLEM["x"], PROBLEM["y"]
WEIGHTS = [PROBLEM[name] for name in ("w1", "b1", "w2", "b2")]


def batches():
    for _ in range(N_EPOCHS):
        for start in range(0, len(X), BATCH):
            yield X[start : start + BATCH], Y[start : start + BATCH]


def by_keras(optimizer, l2=0.0):
    keras.config.set_floatx("float64")
    penalty = keras.regularizers.L2(l2) if l2 else None
    hidden = keras.layers.Dense(WEIGHTS[0].shape[1], activation="relu", kernel_regularizer=penalty)
    head = keras.layers.Dense(WEIGHTS[2].shape[1], kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((X.shape[1],)), hidden, head])
    model.set_weights(WEIGHTS)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for x, y in batches():
        model.train_on_batch(x, y)
    return model.get_weights()


def mean_loss(weights, x, y):
    w1, b1, w2, b2 = weights
    logits = jnp.maximum(x @ w1 + b1, 0) @ w2 + b2
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def by_optax(optimizer):
    weights = [jnp.asarray(weight) for weight in WEIGHTS]
    state = optimizer.init(weights)
    gradient = jax.jit(jax.grad(mean_loss))
    for x, y in batches():
        updates, state = optimizer.update(gradient(weights, x, y), state, weights)
        weights = optax.apply_updates(weights, updates)
    return weights


def trainers(value):
    """Name -> weights after training; ``value`` is λ by unit."""
    mask = [True, False, True, False]
    adam = {"eps": EPS}
    k, o = keras.optimizers, optax
    return {
        "keras sgd, L2": lambda: by_keras(k.SGD(LR), l2=value["sum"]),
        "keras sgd, weight_decay": lambda: by_keras(k.SGD(LR, weight_decay=value["adamw"])),
        "keras momentum, L2": lambda: by_keras(k.SGD(LR, momentum=MOMENTUM), l2=value["sum"]),
        "keras momentum, weight_decay": lambda: by_keras(k.SGD(LR, momentum=MOMENTUM, weight_decay=value["adamw, momentum"])),
        "keras momentum, weight_decay of equal lr·λ": lambda: by_keras(k.SGD(LR, momentum=MOMENTUM, weight_decay=value["adamw"])),
        "keras adam, L2": lambda: by_keras(k.Adam(LR, epsilon=EPS), l2=value["sum"]),
        "keras AdamW": lambda: by_keras(k.AdamW(LR, epsilon=EPS, weight_decay=value["adamw"])),
        "optax sgd, decayed before": lambda: by_optax(o.chain(o.add_decayed_weights(value["half"], mask), o.sgd(LR))),
        "optax sgd, decayed after": lambda: by_optax(o.chain(o.sgd(LR), o.add_decayed_weights(-value["independent"], mask))),
        "optax adam, decayed before": lambda: by_optax(o.chain(o.add_decayed_weights(value["adam"], mask), o.adam(LR, **adam))),
        "optax adam, decayed after": lambda: by_optax(
            o.chain(o.adam(LR, **adam), o.add_decayed_weights(-value["independent"], mask))
        ),
        "optax adamw": lambda: by_optax(o.adamw(LR, weight_decay=value["adamw"], mask=mask, **adam)),
    }


if __name__ == "__main__":
    value = {name.removeprefix("value "): float(given) for name, given in PROBLEM.items() if name.startswith("value ")}
    runs = {name: train() for name, train in trainers(value).items()}
    np.savez(sys.argv[2], **{name: np.concatenate([np.ravel(w) for w in weights]) for name, weights in runs.items()})
