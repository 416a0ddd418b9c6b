"""What a penalty costs: attached to the optimiser, by the optimiser's own weight_decay, and in the loss.

Whole training steps (forward, backward, step) of a 10-million-parameter MLP and a small GPT-2, batch 64. The ways take turns, one
step each in an order that is drawn anew each round, so a slow moment of the machine meets all of them; ratios are taken within a
round.

    python benchmarks/attach.py [--rounds 60] [--threads 2]
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import describe
from torch import nn

import shrinkwise as sw
from shrinkwise.seeding import numpy_generator, torch_generator

LAM, BATCH = 1e-2, 64
RESULTS = Path(__file__).parent / "results" / "attach"
Step = Callable[[], Any]


def mlp() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    """784-2560-2560-512-10: 10.0 million parameters."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 2560), nn.ReLU(), nn.Linear(2560, 2560), nn.ReLU(), nn.Linear(2560, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    generator = torch_generator("attach", "mlp")
    x, y = torch.randn(BATCH, 784, generator=generator), torch.randint(10, (BATCH,), generator=generator)
    return model, lambda model: nn.functional.cross_entropy(model(x), y)


def gpt2() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    """GPT-2 with 4 layers of width 256 and a vocabulary of 4,096; 64 sequences of 32 tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_layer=4, n_embd=256, n_head=4, vocab_size=4096, n_positions=64, attn_pdrop=0, embd_pdrop=0, resid_pdrop=0)
    tokens = torch.randint(4096, (BATCH, 32), generator=torch_generator("attach", "gpt2"))
    return GPT2LMHeadModel(config), lambda model: model(input_ids=tokens, labels=tokens).loss


def ways(make: Callable[[], Any], optimizer_name: str) -> dict[str, Step]:
    """Return one training step for each way of penalising, each with a model and an optimiser of its own."""
    kinds = {
        "sgd": lambda groups: torch.optim.SGD(groups, lr=1e-3, momentum=0.9, foreach=True),
        "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-4, weight_decay=0.0, foreach=True),
    }
    new = kinds[optimizer_name]

    def step(name: str) -> Step:
        model, loss_of = make()
        groups = sw.param_groups(model, LAM if name == "own weight_decay" else 0.0)
        optimizer = new(groups)
        bound = sw.Regularizer(l2=LAM).bind(model)
        if name == "attach":
            bound.attach(optimizer, form="coupled" if optimizer_name == "sgd" else "decoupled")
        weights = [placement.parameter for placement in bound.placements]
        terms: dict[str, Callable[[], Any]] = {
            "penalty() in the loss": bound.penalty,
            "by hand in the loss": lambda: LAM / 2 * sum(weight.pow(2).sum() for weight in weights),
        }
        term = terms.get(name)

        def take() -> None:
            loss = loss_of(model)
            if term is not None:
                loss = loss + term()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return take

    names = ["no penalty", "own weight_decay", "attach"]
    if optimizer_name == "sgd":
        names += ["penalty() in the loss", "by hand in the loss"]
    return {name: step(name) for name in names}


def peak_bytes(step: Step) -> int:
    """Return the most memory that one step holds beyond what stands before it, from the allocator's own record."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    results = profile.profiler.kineto_results  # type: ignore[union-attr]
    records = sorted((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]")
    held = np.cumsum([nbytes for _, nbytes in records])
    return int(held.max(initial=0))


def measured(steps: dict[str, Step], n_rounds: int) -> dict[str, np.ndarray]:
    """Return the seconds of each way's step in each round, after a few rounds that are not counted."""
    order = numpy_generator("attach", "order")
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    gc.disable()
    for i in range(-5, n_rounds):
        for name in order.permutation(list(steps)):
            begun = time.perf_counter()
            steps[name]()
            if i >= 0:
                seconds[name].append(time.perf_counter() - begun)
        gc.collect()
    gc.enable()
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(ours: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Return the median of the ratios within rounds, and its 95 % interval by resampling rounds."""
    pairs = ours / other
    drawn = numpy_generator("attach", "bootstrap").choice(pairs, size=(4000, len(pairs)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(np.median(pairs)), float(low), float(high)


def main() -> None:
    """Measure, print a table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    RESULTS.mkdir(parents=True, exist_ok=True)
    lines = [
        "| model | optimiser | way | step, ms | against own weight_decay | memory beyond no penalty, MB | of all that is held |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = []
    for model_name, make in (("MLP, 10.0 M", mlp), ("GPT-2, 4.2 M", gpt2)):
        n_parameters = sum(p.numel() for p in make()[0].parameters())
        for optimizer_name in ("sgd", "adamw"):
            steps = ways(make, optimizer_name)
            seconds = measured(steps, options.rounds)
            held = sum(p.numel() * 4 for p in make()[0].parameters())
            peaks = {name: peak_bytes(step) for name, step in steps.items()}
            # What a plain step holds in all: weights, gradients, the optimiser's state, and what the step itself takes.
            whole = held * (3 if optimizer_name == "sgd" else 4) + peaks["no penalty"]
            for name in steps:
                middle, low, high = ratio(seconds[name], seconds["own weight_decay"])
                more = peaks[name] - peaks["no penalty"]
                row = {
                    "model": model_name,
                    "n_parameters": n_parameters,
                    "optimizer": optimizer_name,
                    "way": name,
                    "step_ms": 1e3 * float(np.median(seconds[name])),
                    "ratio": middle,
                    "low": low,
                    "high": high,
                    "more_bytes": more,
                    "share_of_plain_step": more / whole,
                }
                rows.append(row)
                lines.append(
                    f"| {model_name} | {optimizer_name} | {name} | {row['step_ms']:.1f} | {middle:.3f} [{low:.3f}, {high:.3f}] "
                    f"| {more / 1e6:+.2f} | {more / whole:+.2%} |"
                )
                print(lines[-1], flush=True)
    (RESULTS / "table.md").write_text("\n".join(lines) + "\n")
    kept = {"rounds": options.rounds, "threads": options.threads, "rows": rows, "environment": describe()}
    (RESULTS / "rows.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
