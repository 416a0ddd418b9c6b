"""Where λ may be looked for at no cost: the timescale window."""

from __future__ import annotations

import math

from shrinkwise.experiments.selection.choice import Choice, Cost
from shrinkwise.experiments.selection.space import Space
from shrinkwise.regularization.strength import convert


def timescale_window(*, lr: float, n_train: int, batch_size: int, epochs: int) -> tuple[float, float]:
    """Return the strengths under which a decoupled decay forgets over one epoch to all epochs: λ of AdamW, ``(low, high)``.

    A decoupled decay makes the weights an average over past updates, about τ = B/(lr·λ·N) epochs long; good values of τ were found
    between one epoch and the whole training (Wang and Aitchison, How to set AdamW's weight decay as you scale model and dataset
    size, 2024, section 4). A range to look in, not an optimum.

    Args:
        lr: Learning rate, at its highest.
        n_train: Training rows.
        batch_size: Rows of one step.
        epochs: Epochs of a training.

    >>> low, high = timescale_window(lr=1e-3, n_train=50_000, batch_size=100, epochs=20)
    >>> round(low, 6), round(high, 6)
    (0.1, 2.0)
    """
    longest, shortest = (
        float(convert(tau, "timescale", "adamw", lr=lr, n_samples=n_train, batch_size=batch_size)) for tau in (epochs, 1)
    )
    return longest, shortest


def prior(space: Space, *, lr: float, n_train: int, batch_size: int, epochs: int) -> Choice:
    """Return the middle of the timescale window as a choice that cost nothing, and the window as its interval.

    Args:
        space: Says the unit and the other settings; its range plays no part.
        lr: Learning rate, at its highest.
        n_train: Training rows.
        batch_size: Rows of one step.
        epochs: Epochs of a training.
    """
    low, high = timescale_window(lr=lr, n_train=n_train, batch_size=batch_size, epochs=epochs)
    lam = float(f"{math.sqrt(low * high):.2g}")
    return Choice(
        method="prior",
        variant=space.variant(lam),
        lam=lam,
        unit=space.unit,
        low=low,
        high=high,
        reason=(
            f"nothing was trained: between {low:.2g} and {high:.2g} a decoupled decay forgets over one epoch to {epochs} epochs, "
            f"the window in which good strengths of AdamW were found; {lam:g} is its middle"
        ),
        at_boundary=False,
        keeps_default=False,
        curve=(),
        cost=Cost(seeds=0, trainings=0, sample_gradients=0, seconds=0.0),
        notes=("a range to look in, not an optimum: method search looks in it",),
        name=space.name,
        default=space.default,
    )
