"""The tasks of the test bed: real data, small networks, SGD and AdamW, each a recipe and a split for every seed.

Validation rows are a quarter as many as training rows, as somebody with few data would hold out. Tables are small, and every seed
cuts its own test rows out of them; the other tasks have a test part that no seed trains on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from shrinkwise.experiments import data
from shrinkwise.experiments.engine import NamedOptimizer, Recipe
from shrinkwise.experiments.models import MLP
from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.seeding import numpy_generator

SHARED = Path(__file__).parents[3] / "shared" / "data"
SGD = NamedOptimizer("sgd", lr=0.05, momentum=0.9)
ADAMW = NamedOptimizer("adamw", lr=0.01, decay="decoupled")

SplitOf = Callable[[int], data.Split]


@dataclass(frozen=True)
class Task:
    """One task of the test bed.

    Attributes:
        name: Name, and name of the file that keeps its runs.
        recipe: How its runs are trained.
        split: Seed -> the rows of that seed.
    """

    name: str
    recipe: Recipe
    split: SplitOf


def drawn_from(pool: data.Dataset, n: int, noise: float = 0.0) -> SplitOf:
    """Draw ``n`` training rows and a quarter as many for validation out of a pool; its test part stays as it is."""
    if pool.test is None:
        raise ValueError(f"{pool.name} has no test part")
    x_test, y_test = pool.test

    def split(seed: int) -> data.Split:
        rng = numpy_generator("test bed", seed)
        rows = rng.permutation(len(pool.y))[: n + n // 4]
        train, val = rows[:n], rows[n:]
        is_noisy, labels = rng.random(n) < noise, rng.integers(len(pool.classes), size=n)
        y = np.where(is_noisy, labels, pool.y[train])
        nothing = np.arange(len(y_test))
        return data.Split(pool.x[train], y, pool.x[val], pool.y[val], x_test, y_test, train, val, nothing)

    return split


def cut_from(table: data.Dataset) -> SplitOf:
    """Cut training, validation and test rows (60, 20 and 20 %) anew for every seed."""
    return lambda seed: data.cut(table, Condition(), seed)


@functools.cache
def digits() -> data.Dataset:
    """Return scikit-learn's digits, all ten classes, 600 of them a test part."""
    whole = data.digits()
    order = numpy_generator("digits").permutation(len(whole.y))
    train, test = order[600:], order[:600]
    return data.Dataset.from_arrays(whole.x[train], whole.y[train], test=(whole.x[test], whole.y[test]), task="classification")


@functools.cache
def mnist() -> data.Dataset:
    """Return MNIST 0-4 with 2,000 of its test images."""
    whole = data.idx(SHARED / "mnist", "0-4")
    if whole.test is None:
        raise ValueError("MNIST has a test part")
    rows = numpy_generator("mnist").permutation(len(whole.test[1]))[:2_000]
    test = whole.test[0][rows], whole.test[1][rows]
    return data.Dataset.from_arrays(whole.x, whole.y, test=test, task="classification")


@functools.cache
def characters() -> data.Dataset:
    """Return pieces of 17 characters out of scikit-learn's descriptions of its data sets; the last character is to be predicted."""
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "descr"
    text = "".join(file.read_text(encoding="utf-8").lower() for file in sorted(folder.glob("*.rst")))
    kept = "abcdefghijklmnopqrstuvwxyz ,.\n"
    codes = np.array([kept.index(letter) for letter in text if letter in kept])
    pieces = np.lib.stride_tricks.sliding_window_view(codes, 17)[::3]
    # The test part is the end of the text, so that no piece of it overlaps one that is trained on.
    n_train = int(0.8 * len(pieces))
    train, test = pieces[: n_train - 6], pieces[n_train:][:1_000]
    xy = [(part[:, :-1].astype(np.float32), part[:, -1]) for part in (train, test)]
    seen = np.isin(xy[1][1], np.unique(xy[0][1]))
    return data.Dataset.from_arrays(*xy[0], test=(xy[1][0][seen], xy[1][1][seen]), task="classification")


@functools.cache
def diabetes() -> data.Dataset:
    """Return scikit-learn's diabetes table, a regression."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return data.Dataset.from_arrays(10 * x, y, task="regression")


def tabular(name: str) -> Callable[[], data.Dataset]:
    """Return what reads one of the UCI tables."""
    return functools.cache(lambda: data.csv(SHARED / "tabular" / f"{name}.csv", -1, header=False))


class ConvNet(nn.Module):
    """Two convolutions with batch normalisation, and a linear layer: 28x28 -> 5."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )
        self.head = nn.Linear(16 * 7 * 7, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape ``(batch, 5)``."""
        return self.head(self.features(x.reshape(-1, 1, 28, 28)).flatten(1))


class CharTransformer(nn.Module):
    """One pre-norm transformer block over 16 characters; the last position predicts the next."""

    def __init__(self, n_letters: int, width: int = 32) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(n_letters, width), nn.Embedding(16, width)
        nn.init.normal_(self.places.weight, std=0.02)
        self.block = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, n_letters)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape ``(batch, n_letters)``."""
        h = self.block(self.letters(x.long()) + self.places.weight)
        return self.head(self.norm(h[:, -1]))


def _mlp(dataset: data.Dataset, hidden: int) -> Callable[[Variant], nn.Module]:
    return lambda _: MLP(dataset.n_features, (hidden,), dataset.n_outputs)


def _recipe(
    dataset: data.Dataset, model: Callable[[Variant], nn.Module], optimizer: NamedOptimizer, epochs: int, batch_size: int
) -> Recipe:
    return Recipe(
        model=model,
        task=dataset.task,
        n_outputs=dataset.n_outputs,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
    )


def _drawn(
    name: str, pool: Callable[[], data.Dataset], n: int, noise: float, hidden: int, epochs: int, optimizer: NamedOptimizer = SGD
) -> tuple[str, Callable[[], Task]]:
    def make() -> Task:
        return Task(name, _recipe(pool(), _mlp(pool(), hidden), optimizer, epochs, min(64, n // 8)), drawn_from(pool(), n, noise))

    return name, make


def _table(
    name: str, table: Callable[[], data.Dataset], hidden: int, epochs: int, optimizer: NamedOptimizer
) -> tuple[str, Callable[[], Task]]:
    def make() -> Task:
        return Task(name, _recipe(table(), _mlp(table(), hidden), optimizer, epochs, 32), cut_from(table()))

    return name, make


def _conv() -> Task:
    return Task("mnist-conv", _recipe(mnist(), lambda _: ConvNet(), SGD, 15, 64), drawn_from(mnist(), 500, 0.2))


def _char() -> Task:
    pool = characters()
    model = _Letters(int(pool.x.max()) + 1, pool.n_outputs)
    return Task("characters", _recipe(pool, model, ADAMW, 15, 64), drawn_from(pool, 1_000))


@dataclass(frozen=True)
class _Letters:
    n_letters: int
    n_outputs: int

    def __call__(self, variant: Variant) -> nn.Module:
        return CharTransformer(max(self.n_letters, self.n_outputs))


TASKS: Mapping[str, Callable[[], Task]] = dict(
    [
        _drawn("digits-clean", digits, 400, 0.0, 64, 45),
        _drawn("digits-noisy", digits, 400, 0.2, 64, 45),
        _drawn("mnist-500-clean", mnist, 500, 0.0, 64, 30),
        _drawn("mnist-500-noisy", mnist, 500, 0.2, 64, 30),
        _drawn("mnist-2000-clean", mnist, 2_000, 0.0, 64, 15),
        _drawn("mnist-2000-noisy", mnist, 2_000, 0.2, 64, 15),
        _drawn("digits-noisy-adamw", digits, 400, 0.2, 64, 45, ADAMW),
        _table("sonar", tabular("sonar"), 32, 60, SGD),
        _table("ionosphere", tabular("ionosphere"), 32, 60, ADAMW),
        _table("german", tabular("german"), 32, 30, ADAMW),
        _table("diabetes", diabetes, 32, 60, SGD),
        ("mnist-conv", _conv),
        ("characters", _char),
    ]
)
"""Name -> what makes the task; nothing is read before it is called."""
