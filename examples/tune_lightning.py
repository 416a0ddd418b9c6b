"""Which weight_decay for a LightningModule? A blocking ``trainer.fit()`` takes part through a callback."""

from __future__ import annotations

import logging
import math
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shrinkwise as sw

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
# Lightning was written for an older torch, and would like more processes for loading 64 pixels.
warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
warnings.filterwarnings("ignore", ".*does not have many workers")

EPOCHS, N_TRAIN, N_VAL = 25, 200, 800
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


class Classifier(lightning.LightningModule):
    """A multilayer perceptron for digits, of whose weights SGD decays the matrices."""

    def __init__(self, weight_decay: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.weight_decay = weight_decay

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        """Log what is chosen by."""
        self.log("val_loss", self.training_step(batch, index))

    def test_step(self, batch: list[torch.Tensor], index: int) -> None:
        """Log what is judged by."""
        self.log("test_loss", self.training_step(batch, index))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return a plain SGD."""
        return torch.optim.SGD(sw.param_groups(self, self.weight_decay), lr=0.1, momentum=0.9)


class Tell(lightning.Callback):
    """Tells the trial what each validation gave, and stops the training where going on is of no use."""

    def __init__(self, trial: sw.Trial) -> None:
        trial.constant(math.log(10))
        self.trial = trial

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Report the loss; stop what has diverged or collapsed."""
        self.trial.report(float(trainer.callback_metrics["val_loss"]), trainer.global_step)
        trainer.should_stop |= self.trial.should_prune()


def train(trial: sw.Trial) -> dict[str, float]:
    """Train once on 200 digits, a third of them mislabelled."""
    # While this runs torch's global generator hangs on the trial's seed, and with it split, labels, first weights and batches.
    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels))
    x, y = torch.tensor(pixels, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order]
    y[:N_TRAIN] = torch.where(torch.rand(N_TRAIN) < 0.3, torch.randint(10, (N_TRAIN,)), y[:N_TRAIN])
    parts = zip(
        x.split([N_TRAIN, N_VAL, len(x) - N_TRAIN - N_VAL]), y.split([N_TRAIN, N_VAL, len(y) - N_TRAIN - N_VAL]), strict=True
    )
    learned, val, test = (TensorDataset(*part) for part in parts)

    module = Classifier(trial["l2"])
    trainer = lightning.Trainer(max_epochs=EPOCHS, accelerator="cpu", num_sanity_val_steps=0, callbacks=[Tell(trial)], **QUIET)
    trainer.fit(module, DataLoader(learned, batch_size=50, shuffle=True), DataLoader(val, batch_size=N_VAL))
    val_loss = float(trainer.callback_metrics["val_loss"])
    (tested,) = trainer.test(module, DataLoader(test, batch_size=N_VAL), verbose=False)
    return {"val_loss": val_loss, **tested}


# jobs=1 trains in this process; with more, each worker would import the library anew, and here that takes a while.
tuned = sw.tune(train, seeds=6, jobs=1)
tuned.show()
