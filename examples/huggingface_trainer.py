"""Does the Hugging Face Trainer decay what I mean, and can it adapt a model without losing what the model knew?"""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.optim import AdamW
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

import shrinkwise as sw
from shrinkwise.regularization.rules import disagreements

N_TEST = 400
FOLDER = tempfile.TemporaryDirectory()


def digits() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the bundled digits as they are, to be learned first, and mirrored, to adapt to."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [{"pixel_values": images[i], "labels": int(labels[i])} for i in order]
    return rows, [{**row, "pixel_values": row["pixel_values"].flip(-1)} for row in rows]


def make_trainer(model: ResNetForImageClassification, rows: list[dict[str, Any]], optimizer: AdamW, epochs: int) -> Trainer:
    """Return the real Trainer, quiet and writing nothing."""
    quiet = {"report_to": "none", "disable_tqdm": True, "logging_strategy": "no", "save_strategy": "no", "use_cpu": True}
    arguments = TrainingArguments(FOLDER.name, num_train_epochs=epochs, per_device_train_batch_size=64, **quiet)
    # The optimiser is ours, with its own lr and weight_decay; None leaves the schedule of lr to the Trainer.
    trainer = Trainer(model, arguments, train_dataset=rows, optimizers=(optimizer, None))
    trainer.remove_callback(PrinterCallback)
    return trainer


@torch.no_grad()
def accuracy(model: ResNetForImageClassification, rows: list[dict[str, Any]]) -> str:
    """Return the share of test rows that the model gets right."""
    logits = model.eval()(torch.stack([row["pixel_values"] for row in rows[:N_TEST]])).logits
    return f"{(logits.argmax(-1) == torch.tensor([row['labels'] for row in rows[:N_TEST]])).double().mean():.1%}"


plain, mirrored = digits()
torch.manual_seed(0)
shape = {"num_channels": 1, "embedding_size": 32, "hidden_sizes": [32, 64], "depths": [1, 1], "layer_type": "basic"}
model = ResNetForImageClassification(ResNetConfig(**shape, num_labels=10))

print("The Trainer goes by names. Where that differs from going by role:")
print(*disagreements(sw.place(model), "huggingface", "weights"), sep="\n")

trainer = make_trainer(model, plain[N_TEST:], AdamW(sw.param_groups(model, weight_decay=0.05), lr=3e-3), epochs=4)
print(f"\nWhat shrinks in this Trainer:\n{sw.audit(trainer)}")
print(f"\nPlain digits before training: {accuracy(model, plain)}")
trainer.train()
print(f"Plain digits after training:  {accuracy(model, plain)}")

# AdamW can only pull toward zero. Attached to its steps, l2_sp pulls toward the weights that the model has when it is bound.
print("\nAdapted to 200 mirrored digits:")
for strength in (0, 0.1):
    adapted = copy.deepcopy(model)
    optimizer = AdamW(sw.param_groups(adapted, weight_decay=0), lr=3e-3)
    sw.Regularizer(l2_sp=strength).bind(adapted).attach(optimizer)
    make_trainer(adapted, mirrored[N_TEST : N_TEST + 200], optimizer, epochs=20).train()
    print(f"l2_sp={strength:<3}: mirrored {accuracy(adapted, mirrored)}, plain still {accuracy(adapted, plain)}")
FOLDER.cleanup()
