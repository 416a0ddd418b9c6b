"""What is to be trained: sizes, run counts, and what everybody is given: rows, weights at the start, the order of batches.

A size is a network on some data, trained for so many epochs; a workload is a size trained for so many variants and seeds. Lengths
are such that the single loop takes some 5 to 30 seconds for 32 runs on two cores (``784-128-5-full`` a minute).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from fleet.networks import conv_net, transformer
from torch import Tensor, nn

from shrinkwise.experiments import data
from shrinkwise.experiments.data.split import choose_rows
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, build_model
from shrinkwise.experiments.engine.recipe import ModelFactory
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.seeding import numpy_generator, torch_generator

SHARED = Path(__file__).parents[3] / "shared" / "data" / "mnist"
LR, MOMENTUM, BATCH = 0.05, 0.9, 64
COUNTS: Mapping[int, tuple[int, int]] = {1: (1, 1), 8: (8, 1), 32: (8, 4), 128: (8, 16)}
"""Runs -> variants and seeds."""

WITH_DROPOUT = tuple(Variant(l2=lam, dropout=rate) for rate in (0, 0.5) for lam in (0, 0.001, 0.01, 0.1))
WITHOUT_DROPOUT = tuple(Variant(l2=lam) for lam in (0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1))


@dataclass(frozen=True)
class Size:
    """A network on some data, and how long it is trained.

    Attributes:
        name: What ``--sizes`` calls it.
        kind: ``dense``, ``conv`` or ``transformer``.
        dataset: Reads the data; kept once read.
        factory: Makes the network, as Shrinkwise is given it.
        epochs: Passes over the training rows.
        hidden: Widths of the hidden layers; empty unless ``dense``.
        train_size: Training rows of a run; None for all that validation leaves.
    """

    name: str
    kind: str
    dataset: Callable[[], data.Dataset]
    factory: ModelFactory
    epochs: int
    hidden: tuple[int, ...] = ()
    train_size: int | None = None

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The eight variants: four λs with and without dropout, or eight λs where the network has none."""
        return WITH_DROPOUT if self.kind == "dense" else WITHOUT_DROPOUT

    @property
    def condition(self) -> Condition:
        """What Shrinkwise calls the amount of training rows."""
        return Condition(train_size=self.train_size)


@dataclass(frozen=True)
class Workload:
    """A size, for the first so many of its variants and seeds."""

    size: Size
    n_variants: int
    n_seeds: int

    @property
    def name(self) -> str:
        """Size and number of runs."""
        return f"{self.size.name} x {self.n_runs}"

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return self.n_variants * self.n_seeds

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants; one alone has dropout where there is any, since half of all runs have."""
        return self.size.variants[-1:] if self.n_variants == 1 else self.size.variants[: self.n_variants]

    @property
    def seeds(self) -> range:
        """The seeds."""
        return range(self.n_seeds)

    @property
    def dataset(self) -> data.Dataset:
        """The data, read once."""
        return self.size.dataset()

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.dataset.n_outputs

    @property
    def epochs(self) -> int:
        """Passes over the training rows."""
        return self.size.epochs

    def split(self, seed: int) -> data.Split:
        """Return the rows of a seed, cut out as Shrinkwise does it."""
        return data.cut(self.dataset, self.size.condition, seed)

    def rows(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which rows of the data set are for training, validation and test, for who gathers them by himself."""
        return choose_rows(self.dataset, self.size.condition, seed)

    def order(self, seed: int, epoch: int, n_train: int) -> Tensor:
        """Return the order of training rows in an epoch, counted from 1, shape ``(n_train,)``."""
        return torch.randperm(n_train, generator=torch_generator("order", seed, epoch))

    def start(self, seed: int) -> nn.Module:
        """Return the network at the start of a seed, which all variants share, as Shrinkwise makes it."""
        sizes = {"task": "classification", "n_outputs": self.n_classes, "epochs": self.epochs, "batch_size": BATCH}
        recipe = Recipe(model=self.size.factory, optimizer=NamedOptimizer("sgd", LR, MOMENTUM), **sizes)
        return build_model(recipe, self.variants[0], seed, torch.from_numpy(self.dataset.x[:2]))

    def plain(self, variant: Variant, seed: int) -> nn.Module:
        """Return the network as somebody writes it who does not know Shrinkwise, with the weights of :meth:`start`."""
        start = self.start(seed)
        if self.size.kind != "dense":
            return start
        widths = [*(p.shape[1] for p in start.parameters() if p.ndim > 1), self.n_classes]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(float(variant.get("dropout", 0.0)))]
        model = nn.Sequential(*layers[:-2])
        with torch.no_grad():
            for here, there in zip(model.parameters(), start.parameters(), strict=True):
                here.copy_(there)
        return model


def is_penalised(name: str, parameter: Tensor) -> bool:
    """Say whether L2 acts on a parameter of :meth:`Workload.plain`: matrices and filters, and no embedding."""
    return parameter.ndim > 1 and "position" not in name


@functools.cache
def digits() -> data.Dataset:
    """Return scikit-learn's digits 0-4, 901 images of 8x8; each seed cuts 541, 180 and 180 out of them."""
    return data.digits(range(5))


@functools.cache
def mnist(classes: str | None = "0-4") -> data.Dataset:
    """Return MNIST with its test part; each seed holds 5,000 training images back for validation."""
    return data.idx(SHARED, classes) if SHARED.is_dir() else data.mnist(classes)


@functools.cache
def images(*shape: int) -> data.Dataset:
    """Return 1,280 images of the digits 0-4 and 1,000 test images, each row of the given shape; each seed holds 256 back."""
    whole = mnist()
    drawn = numpy_generator("fleet benchmark").permutation(len(whole.y))[:1280]
    x_test, y_test = whole.test or (whole.x, whole.y)
    test = (x_test[:1000].reshape(-1, *shape), y_test[:1000])
    return data.Dataset.from_arrays(whole.x[drawn].reshape(-1, *shape), whole.y[drawn], test=test, task="classification")


def dense(name: str, epochs: int, *, source: Callable[[], data.Dataset] = mnist, train_size: int | None = None) -> Size:
    """Return a chain of Linear layers of the widths that its name says."""
    n_in, *hidden, n_out = (int(width) for width in name.split("-")[: -1 if name.endswith("full") else None])
    return Size(name, "dense", source, MLPFactory(n_in, tuple(hidden), n_out), epochs, tuple(hidden), train_size)


SIZES: Mapping[str, Size] = {
    size.name: size
    for size in (
        dense("64-32-5", 100, source=digits),
        dense("784-32-5", 20, train_size=2_000),
        dense("784-128-5", 20, train_size=2_000),
        dense("784-128-5-full", 5),
        dense("784-256-128-10", 20, source=functools.partial(mnist, None), train_size=2_000),
        Size("conv", "conv", functools.partial(images, 1, 28, 28), conv_net, 3),
        Size("transformer", "transformer", functools.partial(images, 28, 28), transformer, 6),
    )
}


def workload(size: str, n_runs: int) -> Workload:
    """Return one of the benchmark's workloads."""
    return Workload(SIZES[size], *COUNTS[n_runs])
