"""What changes in a LightningModule, and does a penalty that grows go on where it was after a checkpoint?"""

from __future__ import annotations

import logging
import tempfile
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shrinkwise as sw
from shrinkwise.regularization.rules import disagreements

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
# Lightning was written for an older torch, and would like more processes for loading 64 pixels.
warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
warnings.filterwarnings("ignore", ".*does not have many workers")

N_TEST, EPOCHS = 400, 10
pixels, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
x, y = torch.tensor(pixels, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order]
batches = DataLoader(TensorDataset(x[N_TEST:], y[N_TEST:]), batch_size=64)


class Classifier(lightning.LightningModule):
    """A multilayer perceptron; SGD decays its matrices, and a growing L1 penalty thins out the first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 10))
        self.regularizer = sw.Regularizer(l1={"net.0": 0.01}, schedule=sw.schedules.WarmUp(EPOCHS * len(batches)))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        """Return the data loss alone: the penalty acts at the optimiser's step."""
        self.log("l1", self.bound.value(), on_step=True)
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return a plain SGD, to whose steps the penalty is attached."""
        optimizer = torch.optim.SGD(sw.param_groups(self, weight_decay=5e-4), lr=0.1, momentum=0.9)
        self.bound = self.regularizer.bind(self)
        self.bound.attach(optimizer, form="proximal")
        return optimizer

    @torch.no_grad()
    def summary(self) -> str:
        """Return how good and how thin it is."""
        accuracy = (self.net(x[:N_TEST]).argmax(-1) == y[:N_TEST]).double().mean()
        return f"accuracy {accuracy:.1%}, {(self.net[0].weight == 0).double().mean():.0%} of the first layer exactly zero"


def fit(epochs: int, checkpoint: str | None = None) -> tuple[Classifier, lightning.Trainer]:
    """Train a new module, from the start or from a checkpoint, quietly and leaving no file behind."""
    module = Classifier()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", **quiet)
    trainer.fit(module, batches, ckpt_path=checkpoint)
    return module, trainer


print("Lightning leaves it to torch, and SGD(self.parameters()) decays everything. Where that differs from going by role:")
print(*disagreements(sw.place(Classifier()), "torch", "weights"), sep="\n")

print(f"\nBefore training: {Classifier().summary()}")
whole, trainer = fit(EPOCHS)
print(f"After training:  {whole.summary()}")
print(f"L1 as logged at the last step: {trainer.callback_metrics['l1']:.2f}")
print(f"\nWhat shrinks in this module:\n{sw.audit(whole, exact=True)}")

with tempfile.TemporaryDirectory() as folder:
    checkpoint = f"{folder}/half.ckpt"
    fit(EPOCHS // 2)[1].save_checkpoint(checkpoint)
    resumed, _ = fit(EPOCHS, checkpoint)
pairs = zip(whole.parameters(), resumed.parameters(), strict=True)
print(f"\nStopped half-way and resumed, the weights are the same to the last bit: {all(torch.equal(a, b) for a, b in pairs)}")
