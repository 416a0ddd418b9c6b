"""Which weight_decay for the Hugging Face Trainer? A blocking ``trainer.train()`` takes part through a callback."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from sklearn.datasets import load_digits
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.trainer_callback import PrinterCallback

import shrinkwise as sw

EPOCHS, N_TRAIN, N_VAL = 10, 300, 700
QUIET = {"report_to": "none", "disable_tqdm": True, "logging_strategy": "no", "save_strategy": "no", "use_cpu": True}
SHAPE = {"image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 32, "intermediate_size": 64}


class Tell(TrainerCallback):
    """Tells the trial what each evaluation gave, and stops the training where going on is of no use."""

    def __init__(self, trial: sw.Trial) -> None:
        self.trial = trial

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: dict[str, float], **more: Any
    ) -> None:
        """Report the loss; stop what has diverged or collapsed."""
        self.trial.report(metrics["eval_loss"], state.global_step)
        control.should_training_stop |= self.trial.should_prune()


def train(trial: sw.Trial) -> dict[str, float]:
    """Train once on 300 digits."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    # While this runs torch's global generator hangs on the trial's seed, and with it the split and the first weights.
    rows = [{"pixel_values": images[i], "labels": int(labels[i])} for i in torch.randperm(len(images))]
    train_rows, val_rows, test_rows = rows[:N_TRAIN], rows[N_TRAIN : N_TRAIN + N_VAL], rows[N_TRAIN + N_VAL :]
    model = ViTForImageClassification(ViTConfig(**SHAPE, num_hidden_layers=1, num_attention_heads=2, num_labels=10))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=50,
            per_device_eval_batch_size=N_VAL,
            learning_rate=1e-2,
            weight_decay=trial["weight_decay"],
            eval_strategy="epoch",
            seed=trial.seed,
            **QUIET,
        )
        trainer = Trainer(model, arguments, train_dataset=train_rows, eval_dataset=val_rows, callbacks=[Tell(trial)])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        # The Trainer calls whatever it predicts test_loss, for the rows that it is given.
        return {
            "val_loss": trainer.predict(val_rows).metrics["test_loss"],
            "test_loss": trainer.predict(test_rows).metrics["test_loss"],
        }


# The Trainer's optimiser is AdamW, whose decay is decoupled: λ is in the unit of AdamW, where useful numbers are far larger.
# jobs=1 trains in this process; with more, each worker would import the library anew, and here that takes a while.
tuned = sw.tune(train, name="weight_decay", unit="adamw", low=0.01, high=10.0, seeds=5, budget=20, jobs=1)
tuned.show()
