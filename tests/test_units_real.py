"""Units against the real frameworks: an exact conversion gives the same weights, an inexact one does not.

A setting is a problem and a way to step. In it every unit is trained by a framework that takes λ in that unit, or as its formula
says where no framework does. Any two units of a setting have to end at the same weights.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from shrinkwise.regularization.strength import UNITS, convert
from shrinkwise.seeding import numpy_generator

N, BATCH, N_EPOCHS, LR, EPS, MOMENTUM = 120, 30, 5, 0.05, 1e-12, 0.9
LAM = 0.3
SIZES = {"lr": LR, "n_samples": N, "batch_size": BATCH}
# What each optimiser takes beside its name.
TOLD = {"sgd": {}, "momentum": {"momentum": MOMENTUM}, "adam": {}}
FULL = SIZES | {"batch_size": N, "lr": 0.4}

needs_jax = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("keras", "jax", "optax")), reason="Keras on JAX and Optax are not installed"
)


def _problem():
    draw = numpy_generator("units")
    x = draw.normal(size=(N, 6))
    y = (x[:, :3] + 0.5 * draw.normal(size=(N, 3))).argmax(1)
    target = x @ draw.normal(size=6) + draw.normal(size=N) + 2
    start = [draw.normal(size=shape) * 0.5 for shape in ((6, 5), (5,), (5, 3), (3,))]
    return x, y, target, start


X, Y, TARGET, START = _problem()
X_TENSOR, Y_TENSOR, TARGET_TENSOR = map(torch.tensor, (X, Y, TARGET))


def values(sizes):
    """λ in every unit, for the one lam."""
    return {name: convert(LAM, "half", name, **sizes).value for name in UNITS}


def flat(weights):
    return np.concatenate([np.ravel(weight) for weight in weights])


def by_torch(make, *, decay=0.0, penalty=None, shrink=0.0, n_epochs=N_EPOCHS):
    """Train in torch: ``decay`` is the optimiser's own, ``penalty`` a function of Σw², ``shrink`` the share taken off a step."""
    weights = [torch.tensor(weight, requires_grad=True) for weight in START]
    w1, b1, w2, b2 = weights
    optimizer = make([{"params": [w1, w2], "weight_decay": decay}, {"params": [b1, b2], "weight_decay": 0.0}])
    for start in list(range(0, N, BATCH)) * n_epochs:
        logits = (X_TENSOR[start : start + BATCH] @ w1 + b1).relu() @ w2 + b2
        loss = functional.cross_entropy(logits, Y_TENSOR[start : start + BATCH])
        if penalty:
            loss = loss + penalty(w1.square().sum() + w2.square().sum())
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            w1.mul_(1 - shrink)
            w2.mul_(1 - shrink)
        optimizer.step()
    return flat([weight.detach().numpy() for weight in weights])


def sgd(groups):
    return torch.optim.SGD(groups, lr=LR)


def momentum(groups):
    return torch.optim.SGD(groups, lr=LR, momentum=MOMENTUM)


def adam(groups):
    return torch.optim.Adam(groups, lr=LR, eps=EPS)


def adamw(groups):
    return torch.optim.AdamW(groups, lr=LR, eps=EPS)


def by_sklearn(alpha, solver):
    """Train scikit-learn's own network from our starting weights."""
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(
        (5,),
        solver=solver,
        alpha=alpha,
        batch_size=BATCH,
        learning_rate_init=LR,
        max_iter=1,
        shuffle=False,
        momentum=0,
        nesterovs_momentum=False,
        epsilon=EPS,
        warm_start=True,
        tol=0,
        random_state=0,
    )
    with warnings.catch_warnings():
        # It warns that 20 steps are not convergence.
        warnings.filterwarnings("ignore", message="Stochastic Optimizer: Maximum iterations")
        network.fit(X, Y)
        network.coefs_, network.intercepts_ = [START[0].copy(), START[2].copy()], [START[1].copy(), START[3].copy()]
        network.set_params(max_iter=N_EPOCHS).fit(X, Y)
    return flat([network.coefs_[0], network.intercepts_[0], network.coefs_[1], network.intercepts_[1]])


@pytest.fixture(scope="module")
def in_jax(tmp_path_factory):
    """Name of a trainer of units_in_jax -> its weights."""
    folder = tmp_path_factory.mktemp("jax")
    value = values(SIZES) | {"adamw, momentum": convert(LAM, "half", "adamw", optimizer="momentum", momentum=MOMENTUM).value}
    given = {f"value {name}": number for name, number in value.items()}
    np.savez(folder / "in.npz", x=X, y=Y, **dict(zip(("w1", "b1", "w2", "b2"), START, strict=True)), **given)
    script = Path(__file__).parent / "units_in_jax"
    done = subprocess.run(
        [sys.executable, script, folder / "in.npz", folder / "out.npz"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "out.npz"))


# Setting -> (the optimiser that convert is told, unit -> trainers of λ in that unit); a name in a list is one of units_in_jax.
NETWORK = {
    "sgd": {
        "half": [lambda v: by_torch(sgd, decay=v), "optax sgd, decayed before"],
        "sum": ["keras sgd, L2"],
        "per_sample": [lambda v: by_torch(sgd, penalty=lambda square: v / (2 * N) * square)],
        "sklearn-mlp": [lambda v: by_sklearn(v, "sgd")],
        "adamw": ["keras sgd, weight_decay"],
        "independent": ["optax sgd, decayed after"],
        "timescale": [lambda v: by_torch(sgd, shrink=BATCH / (v * N))],
    },
    "adam": {
        "half": [lambda v: by_torch(adam, penalty=lambda square: v / 2 * square)],
        "sum": ["keras adam, L2"],
        "per_sample": [lambda v: by_torch(adam, penalty=lambda square: v / (2 * N) * square)],
        "sklearn-mlp": [lambda v: by_sklearn(v, "adam")],
        "adam": [lambda v: by_torch(adam, decay=v), "optax adam, decayed before"],
    },
    "adam, decoupled": {
        "adamw": [lambda v: by_torch(adamw, decay=v), "keras AdamW", "optax adamw"],
        "independent": ["optax adam, decayed after"],
        "timescale": [lambda v: by_torch(adam, shrink=BATCH / (v * N))],
    },
    "momentum": {
        "half": [lambda v: by_torch(momentum, decay=v)],
        "sum": ["keras momentum, L2"],
    },
}


@needs_jax
@pytest.mark.parametrize("setting", NETWORK)
def test_units_of_a_setting_train_to_the_same_weights(setting, in_jax):
    value = values(SIZES)
    ends = {
        f"{unit} {i}": in_jax[train] if isinstance(train, str) else train(value[unit])
        for unit, trainers in NETWORK[setting].items()
        for i, train in enumerate(trainers)
    }
    reference = next(iter(ends.values()))
    assert np.abs(reference - flat(START)).max() > 0.05
    worst = {name: np.abs(end - reference).max() for name, end in ends.items()}
    assert max(worst.values()) < 1e-7, worst


@needs_jax
def test_what_is_called_inexact_differs(in_jax):
    """The nearest is given, and it is not near."""
    value = values(SIZES)
    pairs = {
        "adam": (by_torch(adam, decay=value["adam"]), in_jax["keras AdamW"]),
        "momentum": (in_jax["keras momentum, L2"], in_jax["keras momentum, weight_decay"]),
    }
    for optimizer, (coupled, decoupled) in pairs.items():
        assert not convert(value["sum"], "keras", "adamw", optimizer=optimizer, **TOLD[optimizer]).exact
        assert np.abs(coupled - decoupled).max() > 0.05


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("m", [0.5, MOMENTUM])
@pytest.mark.parametrize("lam", [0.01, 0.1])
def test_the_decay_given_under_momentum_is_nearer_than_the_one_of_equal_lr_lam(lam, m, nesterov):
    """Over 400 steps, where both ways of counting have had time to part."""
    train = partial(by_torch, lambda groups: torch.optim.SGD(groups, lr=LR, momentum=m, nesterov=nesterov), n_epochs=100)
    given = convert(lam, "half", "adamw", optimizer="momentum", momentum=m).value
    penalty = train(decay=lam)
    away, equal = (np.linalg.norm(train(shrink=LR * decay) - penalty) for decay in (given, lam))
    assert 0 < away < equal / 3


@needs_jax
def test_the_decay_given_under_momentum_is_nearer_in_keras_too(in_jax):
    penalty, given, equal = (in_jax[f"keras momentum, {how}"] for how in ("L2", "weight_decay", "weight_decay of equal lr·λ"))
    assert np.linalg.norm(given - penalty) < np.linalg.norm(equal - penalty) / 2


def test_a_smaller_last_batch_is_penalised_more_by_sklearn(monkeypatch):
    """Its alpha is divided by the rows of that batch, so the unit is exact only where all batches are full."""
    monkeypatch.setattr(sys.modules[__name__], "BATCH", 35)
    alpha = convert(LAM, "half", "sklearn-mlp", batch_size=35).value
    assert np.abs(by_sklearn(alpha, "sgd") - by_torch(sgd, decay=LAM)).max() > 1e-4


def squared_error(weight, bias):
    return functional.mse_loss((X_TENSOR @ weight + bias)[:, 0], TARGET_TENSOR)


def cross_entropy(weight, bias):
    return functional.cross_entropy(X_TENSOR @ weight + bias, Y_TENSOR)


def linear(loss):
    n_outputs = 1 if loss is squared_error else 3
    return torch.zeros(6, n_outputs, dtype=torch.float64, requires_grad=True), torch.zeros(
        n_outputs, dtype=torch.float64, requires_grad=True
    )


def minimum(loss, penalty):
    """Minimise the loss and a function of Σw² by LBFGS."""
    weight, bias = linear(loss)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss(weight, bias) + penalty(weight.square().sum())
        value.backward()
        return value

    optimizer.step(closure)
    return weight.detach().numpy()


def descended(loss, shrink):
    """Plain full-batch gradient descent beside a decoupled shrink of each step."""
    weight, bias = linear(loss)
    for _ in range(400):
        for parameter, grad in zip((weight, bias), torch.autograd.grad(loss(weight, bias), (weight, bias)), strict=True):
            with torch.no_grad():
                parameter.mul_(1 - shrink if parameter is weight else 1).sub_(FULL["lr"] * grad)
    return weight.detach().numpy()


def by_adam(loss, decay):
    """Adam with its own weight_decay, its learning rate falling to 0."""
    weight, bias = linear(loss)
    optimizer = torch.optim.Adam([{"params": [weight], "weight_decay": decay}, {"params": [bias]}], lr=0.2, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.985)
    for _ in range(1000):
        optimizer.zero_grad()
        loss(weight, bias).backward()
        optimizer.step()
        schedule.step()
    return weight.detach().numpy()


def ridge(alpha):
    from sklearn.linear_model import Ridge

    return Ridge(alpha=alpha, tol=1e-12).fit(X, TARGET).coef_[:, None]


def logistic(c):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, tol=1e-12, max_iter=10_000).fit(X, Y).coef_.T


def network_without_a_hidden_layer(alpha):
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier((), solver="lbfgs", alpha=alpha, tol=1e-14, max_iter=10_000, warm_start=True, random_state=0)
    # Its solver stops early; begun again from there, it goes on.
    return network.fit(X, Y).fit(X, Y).coefs_[0]


def common(loss):
    """Unit -> trainer, for the units that belong to any loss."""
    return {
        "half": lambda v: minimum(loss, lambda square: v / 2 * square),
        "sum": lambda v: minimum(loss, lambda square: v * square),
        "per_sample": lambda v: minimum(loss, lambda square: v / (2 * N) * square),
        "adam": lambda v: by_adam(loss, v),
        "adamw": lambda v: descended(loss, FULL["lr"] * v),
        "independent": lambda v: descended(loss, v),
        "timescale": lambda v: descended(loss, N / (v * N)),
    }


OPTIMUM = {
    "ridge": common(squared_error) | {"sklearn-ridge": ridge},
    "logistic": common(cross_entropy) | {"sklearn-logistic": logistic, "sklearn-mlp": network_without_a_hidden_layer},
}


@pytest.mark.parametrize("setting", OPTIMUM)
def test_units_of_a_setting_have_the_same_optimum(setting):
    value = values(FULL)
    ends = {unit: train(value[unit]) for unit, train in OPTIMUM[setting].items()}
    worst = {unit: np.abs(end - ends["half"]).max() for unit, end in ends.items()}
    assert max(worst.values()) < 1e-5, worst


DECAYS = [name for name, unit in UNITS.items() if unit.is_decoupled]
# Pairs that no training has both of, in either order; the rest of what is inexact depends on the optimiser.
NEVER_EXACT = {frozenset({"adam", decay}) for decay in DECAYS} | {
    frozenset({"sklearn-ridge", "sklearn-logistic"}),
    frozenset({"sklearn-ridge", "sklearn-mlp"}),
}
# Setting -> optimisers of which its steps tell; Adam's unit shares an optimum with decays, and not its way there.
TELLS = {
    "sgd": {"sgd"},
    "adam": {"adam"},
    "adam, decoupled": {"sgd", "momentum", "adam"},
    "momentum": {"momentum"},
    "ridge": {"sgd"},
    "logistic": {"sgd"},
}


@pytest.mark.parametrize("pair", list(itertools.combinations(UNITS, 2)), ids=" and ".join)
def test_every_pair_is_trained_as_exact_or_listed_as_inexact(pair):
    settings = [name for name, units in (NETWORK | OPTIMUM).items() if set(pair) <= set(units)]
    one, other = pair
    sizes = SIZES
    if frozenset(pair) in NEVER_EXACT:
        assert not any(
            convert(1, *way, optimizer=o, **told, **sizes).exact for o, told in TOLD.items() for way in (pair, pair[::-1])
        )
        return
    assert settings, "no setting trains both"
    for optimizer in set.union(*(TELLS[name] for name in settings)):
        told = {"optimizer": optimizer, **TOLD[optimizer], **sizes}
        there = convert(values(sizes)[one], one, other, **told)
        back = convert(values(sizes)[other], other, one, **told)
        assert there.exact
        assert back.exact
        assert there.value == pytest.approx(values(sizes)[other], rel=1e-14)
        assert back.value == pytest.approx(values(sizes)[one], rel=1e-14)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_no_penalty_is_exactly_a_decay_but_under_plain_sgd(optimizer):
    for coupled, decay in itertools.product(set(UNITS) - set(DECAYS), DECAYS):
        assert not convert(1, coupled, decay, optimizer=optimizer, **TOLD[optimizer], **SIZES).exact
        assert not convert(1, decay, coupled, optimizer=optimizer, **TOLD[optimizer], **SIZES).exact
