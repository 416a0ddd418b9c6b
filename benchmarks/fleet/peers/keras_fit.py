"""Keras 3 on JAX or on torch, as its users write it: a model for each run, ``fit`` with validation data, ``evaluate`` at the end.

What it leaves out: the training loss is the running mean that ``fit`` prints, with dropout and while weights move, so it is not
handed back. Weights start, and batches come, as Keras draws them. The backend is chosen before Keras is imported.
"""

from __future__ import annotations

import keras
from fleet.networks import CHANNELS, FEED_FORWARD, HEADS, LAYERS, ROWS, WIDTH
from fleet.outcomes import Outcome, settings
from fleet.workloads import BATCH, LR, MOMENTUM, Workload
from keras import layers

from shrinkwise.experiments.records import Variant


def train(workload: Workload, mode: str) -> list[Outcome]:
    """Train every run; ``mode`` is the backend that Keras was started with."""
    if keras.backend.backend() != mode:
        raise RuntimeError(f"Keras runs on {keras.backend.backend()}: start Python with KERAS_BACKEND={mode}")
    if mode == "torch":
        import torch

        torch.set_num_threads(2)
    outcomes = []
    for seed in workload.seeds:
        split = workload.split(seed)
        for variant in workload.variants:
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            model = network(workload, variant)
            # The loss that Keras reports has the penalty in it; the metric beside it has not.
            model.compile(
                optimizer=keras.optimizers.SGD(LR, MOMENTUM),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy", keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")],
            )
            val = (split.x_val, split.y_val)
            history = model.fit(
                split.x_train, split.y_train, batch_size=BATCH, epochs=workload.epochs, validation_data=val, verbose=0
            ).history
            test = model.evaluate(split.x_test, split.y_test, verbose=0, return_dict=True)
            curves = (tuple(map(float, history[f"val_{name}"])) for name in ("entropy", "accuracy"))
            outcomes.append(Outcome(*settings(variant), seed, None, *curves, float(test["entropy"]), float(test["accuracy"])))
    return outcomes


def network(workload: Workload, variant: Variant) -> keras.Model:
    """Return the network of a variant; ``regularizers.L2`` has no half."""
    lam, rate = settings(variant)
    penalty = {"kernel_regularizer": keras.regularizers.L2(lam / 2)} if lam else {}
    inputs = keras.Input(workload.dataset.x.shape[1:])
    make = {"dense": _dense, "conv": _conv, "transformer": _transformer}[workload.size.kind]
    h = make(inputs, workload.size.hidden, rate, penalty)
    return keras.Model(inputs, layers.Dense(workload.n_classes, **penalty)(h))


def _dense(h: keras.KerasTensor, hidden: tuple[int, ...], rate: float, penalty: dict[str, object]) -> keras.KerasTensor:
    for width in hidden:
        h = layers.Dense(width, activation="relu", **penalty)(h)
        h = layers.Dropout(rate)(h) if rate else h
    return h


def _conv(h: keras.KerasTensor, hidden: tuple[int, ...], rate: float, penalty: dict[str, object]) -> keras.KerasTensor:
    h = layers.Permute((2, 3, 1))(h)
    for channels in CHANNELS:
        h = layers.Conv2D(channels, 3, padding="same", **penalty)(h)
        h = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(h)
        h = layers.MaxPooling2D()(layers.ReLU()(h))
    return layers.Flatten()(h)


def _transformer(h: keras.KerasTensor, hidden: tuple[int, ...], rate: float, penalty: dict[str, object]) -> keras.KerasTensor:
    h = layers.Dense(WIDTH, **penalty)(h)
    positions = layers.Embedding(ROWS, WIDTH)(keras.ops.arange(ROWS))
    h = h + positions
    for _ in range(LAYERS):
        normed = layers.LayerNormalization(epsilon=1e-5)(h)
        h = h + layers.MultiHeadAttention(HEADS, WIDTH // HEADS, **penalty)(normed, normed)
        up = layers.Dense(FEED_FORWARD, activation="relu", **penalty)(layers.LayerNormalization(epsilon=1e-5)(h))
        h = h + layers.Dense(WIDTH, **penalty)(up)
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-5)(h))
