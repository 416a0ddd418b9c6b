"""Which L2 regularizer for a Keras model? And why not to ask Keras's own ``val_loss``."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import shrinkwise as sw

EPOCHS, N_TRAIN, N_VAL = 30, 200, 700


class Tell(keras.callbacks.Callback):
    """Tells the trial what each epoch gave, and stops the training where going on is of no use."""

    def __init__(self, trial: sw.Trial) -> None:
        super().__init__()
        trial.constant(float(np.log(10)))
        self.trial = trial

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Report the cross-entropy; stop what has diverged or collapsed."""
        self.trial.report(logs["val_crossentropy"], epoch + 1)
        self.model.stop_training |= self.trial.should_prune()


def train(trial: sw.Trial) -> dict[str, float]:
    """Train once on 200 digits, a third of them mislabelled."""
    # While this runs Python's and NumPy's generators hang on the trial's seed: Keras draws first weights and batches from them.
    pixels, labels = load_digits(return_X_y=True)
    x, x_rest, y, y_rest = train_test_split(pixels / 16, labels, train_size=N_TRAIN, random_state=trial.seed)
    val, test = (x_rest[:N_VAL], y_rest[:N_VAL]), (x_rest[-N_VAL:], y_rest[-N_VAL:])
    rng = np.random.default_rng(trial.seed)
    y = np.where(rng.random(len(y)) < 0.3, rng.integers(10, size=len(y)), y)

    l2 = keras.regularizers.L2(trial["l2"])
    layers = [keras.layers.Dense(64, "relu", kernel_regularizer=l2), keras.layers.Dense(10, "softmax", kernel_regularizer=l2)]
    model = keras.Sequential([keras.Input((64,)), *layers])
    # Keras adds the penalty to every loss that it prints, val_loss included: by that, no penalty would always look best.
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalCrossentropy(name="crossentropy")],
    )
    history = model.fit(x, y, 20, EPOCHS, verbose=0, callbacks=[Tell(trial)], validation_data=val, validation_batch_size=N_VAL)
    tested = model.evaluate(*test, batch_size=N_VAL, verbose=0, return_dict=True)
    last = {name: values[-1] for name, values in history.history.items()}
    return last | {f"test_{name}": value for name, value in tested.items()}


# Keras's L2 is loss + λ·Σw², without the half: the same penalty is half the λ of torch.
# jobs=1 trains in this process; with more, each worker would import the library anew, and here that takes a while.
tuned = sw.tune(train, unit="keras", metric="crossentropy", maximize=False, seeds=3, jobs=1)
tuned.show()
print(f"\nThe same penalty in torch is SGD's weight_decay={sw.convert(tuned.lam, 'keras', 'half').value:.2g}.")
