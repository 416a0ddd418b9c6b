"""A small classifier in the training loops of the real Hugging Face Trainer and the real Lightning."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import shrinkwise as sw
from shrinkwise.seeding import isolated_rng, torch_generator

transformers = pytest.importorskip("transformers")
lightning = pytest.importorskip("lightning")
pytest.importorskip("accelerate")

LR, LAM, N_STEPS, BATCH = 0.05, 0.3, 8, 8


def _rows():
    generator = torch_generator("trainers", "rows")
    x = torch.randn(128, 6, dtype=torch.float64, generator=generator)
    labels = torch.randint(3, (128,), generator=generator)
    return [{"x": row, "labels": label} for row, label in zip(x, labels, strict=True)]


ROWS = _rows()


def make_network():
    with isolated_rng("trainers", "network"):
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 3)).double()


def weights_of(model):
    """Return all parameters as one vector."""
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def sgd(model, weight_decay=0.0):
    return torch.optim.SGD(sw.param_groups(model, weight_decay), lr=LR, momentum=0.9)


def attached_to_sgd(model, **penalties):
    optimizer = sgd(model)
    sw.Regularizer(**penalties or {"l2": LAM}).bind(model).attach(optimizer)
    return optimizer


class ForTrainer(nn.Module):
    """What the Trainer asks of a model; with ``in_loss``, the textbook form of a penalty."""

    def __init__(self, in_loss=None):
        super().__init__()
        self.net = make_network()
        self.in_loss = in_loss and in_loss.bind(self)

    def forward(self, x, labels):
        logits = self.net(x)
        loss = nn.functional.cross_entropy(logits, labels)
        return {"loss": loss if self.in_loss is None else loss + self.in_loss.penalty(), "logits": logits}


def make_trainer(model, folder, optimizer=None, kind=transformers.Trainer, *, accumulate=1, clip=0.0, **options):
    arguments = transformers.TrainingArguments(
        str(folder),
        max_steps=N_STEPS,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=accumulate,
        max_grad_norm=clip,
        **{"use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no", **options},
    )
    trainer = kind(model, arguments, train_dataset=ROWS, optimizers=(optimizer, None))
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    return trainer


def by_trainer(folder, make_optimizer, in_loss=None, **loop):
    model = ForTrainer(in_loss)
    make_trainer(model, folder, make_optimizer(model), **loop).train()
    return weights_of(model)


class Module(lightning.LightningModule):
    """A LightningModule whose optimiser a test makes.

    Args:
        make_optimizer: Takes the module.
        in_loss: A regularizer in its loss.
        how: ``automatic``, or one of two manual ways to step.
        clip: Largest norm of the gradients in manual optimisation.
    """

    def __init__(self, make_optimizer, in_loss=None, how="automatic", clip=0.0):
        super().__init__()
        self.net = make_network()
        self.make_optimizer, self.how, self.clip = make_optimizer, how, clip
        self.automatic_optimization = how == "automatic"
        self.in_loss = in_loss and in_loss.bind(self)

    def loss(self, batch):
        loss = nn.functional.cross_entropy(self.net(batch["x"]), batch["labels"])
        return loss if self.in_loss is None else loss + self.in_loss.penalty()

    def training_step(self, batch, index):
        if self.automatic_optimization:
            return self.loss(batch)
        optimizer = self.optimizers()

        def closure():
            optimizer.zero_grad()
            loss = self.loss(batch)
            self.manual_backward(loss)
            if self.clip:
                self.clip_gradients(optimizer, self.clip, "norm")
            return loss

        if self.how == "manual closure":
            optimizer.step(closure=closure)
        else:
            closure()
            optimizer.step()
        return None

    def configure_optimizers(self):
        return self.make_optimizer(self)


def make_lightning(*, accumulate=1, clip=0.0, **length):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip or None,
        **(length or {"max_steps": N_STEPS}),
        **quiet,
    )


def make_loader():
    return DataLoader(ROWS, batch_size=BATCH)


def by_lightning(folder, make_optimizer, in_loss=None, **loop):
    module = Module(make_optimizer, in_loss)
    make_lightning(**loop).fit(module, make_loader())
    return weights_of(module)
