"""How strongly each layer's weights ask to be held, by the evidence of a Laplace approximation at trained weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from shrinkwise.experiments.selection.curvature.network import Trained, at_rest
from shrinkwise.experiments.selection.curvature.spectrum import Method, spectra
from shrinkwise.experiments.selection.layers import LayerStrength
from shrinkwise.regularization.audit.measuring.looking import invariance_of

SCALE_INVARIANT = "scale-invariant: a normalisation layer follows it"
TOO_LARGE = "too large for an exact spectrum, and of a kind or a width that K-FAC is not taken of"
FLAT = "the loss does not change with it"
ZERO = "all its values are zero"
_INVARIANCE_ROWS = 256

Floats = npt.NDArray[np.float64]


def layer_strengths(model: nn.Module, x: Tensor, y: Tensor, task: str, *, method: Method = "auto") -> tuple[LayerStrength, ...]:
    """Return the strength that the evidence asks for, and the effective number of parameters, of each weight matrix and filter.

    With the eigenvalues h_i of a weight's block of the Gauss-Newton matrix of the mean loss over N rows, its effective number of
    parameters is γ = Σ N·h_i / (N·h_i + δ), where the prior precision δ solves δ = γ/‖w‖² (MacKay, Neural Computation 4, 1992,
    section 4; for networks and one δ a layer, Immer et al., ICML 2021), and ``lam`` is δ/N. For a squared error the precision β of
    the noise, which solves β = (N − Σγ) / Σe², scales the mean of squares to a likelihood: N·β/2 takes the place of N in all three.
    Both equations have exactly one solution: γ falls with δ, and rises with β.

    Args:
        model: The trained network. It is looked at in eval mode, normalisation statistics fixed, and left as it was.
        x: Training rows, shape ``(batch, ...)``.
        y: Class indices or (standardised) numbers, shape ``(batch,)``.
        task: ``classification`` or ``regression``.
        method: ``ggn``, exact spectra; ``kfac``; or ``auto``, exact for layers of up to 1,024 values.

    Returns:
        One a weight matrix or filter, in the model's order, ``lam`` in the package's one unit; none for biases, norms, embeddings.
        A layer is left out, with the reason, where a normalisation makes its size meaningless or its curvature says nothing.

    Raises:
        MissingExtraError: curvlinops is not installed.
        ModelError: The network cannot be differentiated as this needs it.
        SettingError: ``method`` is unknown, or ``ggn`` and a layer is too large.
    """
    trained = Trained(model, x, y, task)
    is_invariant = invariance_of(model, None, x[:_INVARIANCE_ROWS], [weight.parameter for weight in trained.weights], [])
    with at_rest(model):
        eigenvalues = spectra(trained, trained.weights, method)
        squared_errors = trained.squared_errors() if task == "regression" else 0.0
    found = {name: values.cpu().numpy() for name, values in eigenvalues.items()}
    norms = {w.name: float(torch.linalg.vector_norm(w.parameter.detach(), dtype=torch.float64)) ** 2 for w in trained.weights}
    speaking = {name: (h, norms[name]) for name, h in found.items() if h.max() > 0 and norms[name] > 0}
    scale = trained.n * (_noise_precision(speaking, trained.n, squared_errors) / 2 if task == "regression" else 1.0)
    layers = []
    for weight in trained.weights:
        name, n = weight.name, weight.parameter.numel()
        if name not in speaking:
            why = TOO_LARGE if name not in found else ZERO if norms[name] == 0 else FLAT
            layers.append(LayerStrength(name, n, math.nan if name not in found else 0.0, None, why))
            continue
        delta, effective = fixed_point(scale * speaking[name][0], norms[name])
        is_left_out = is_invariant.get(id(weight.parameter), False)
        layers.append(
            LayerStrength(name, n, effective, None if is_left_out else delta / scale, SCALE_INVARIANT if is_left_out else "")
        )
    return tuple(layers)


def fixed_point(h: Floats, squared_norm: float) -> tuple[float, float]:
    """Return the prior precision δ that solves δ·‖w‖² = Σ h/(h + δ), and that sum: the effective number of parameters.

    Args:
        h: Eigenvalues of the Hessian of the whole log-likelihood, shape ``(n_values,)``, not all zero.
        squared_norm: ‖w‖², not zero.

    >>> delta, effective = fixed_point(np.array([2.0, 2.0]), squared_norm=0.5)
    >>> round(delta, 6), round(effective, 6)
    (2.0, 1.0)
    """

    def gap(log_delta: float) -> float:
        delta = math.exp(log_delta)
        return delta * squared_norm - float((h / (h + delta)).sum())

    # Below: the largest eigenvalue alone contributes a half. Above: each contributes less than one.
    low = math.log(min(float(h.max()), 0.4 / squared_norm))
    high = math.log(1.01 * len(h) / squared_norm)
    delta = math.exp(float(brentq(gap, low, high, xtol=1e-12)))
    return delta, delta * squared_norm


def averaged(seeds: Sequence[Sequence[LayerStrength]]) -> tuple[LayerStrength, ...]:
    """Return the layers of several seeds as one: effective numbers by their mean, strengths by their geometric mean.

    A layer is left out where every seed leaves it out.

    Args:
        seeds: For each seed what :func:`layer_strengths` said, of networks of one shape.
    """
    layers = []
    for of_layer in zip(*seeds, strict=True):
        lams = [layer.lam for layer in of_layer if layer.lam is not None]
        effective = [layer.effective for layer in of_layer if not math.isnan(layer.effective)]
        layers.append(
            replace(
                of_layer[0],
                effective=float(np.mean(effective)) if effective else math.nan,
                lam=math.exp(float(np.mean(np.log(lams)))) if lams else None,
                why_left_out="" if lams else of_layer[0].why_left_out,
            )
        )
    return tuple(layers)


def profile_of(layers: Sequence[LayerStrength], *, is_relative: bool = False) -> dict[str, float]:
    """Return the strengths as a recipe's ``profile``; layers that are left out have none.

    Args:
        layers: From :func:`averaged`.
        is_relative: Divide by their geometric mean over layers, so that the multiplier is itself a strength. For decoupled decay
            under Adam, whose λ is no λ of an objective: there the evidence speaks of how layers stand to each other, at most.
    """
    lams = {layer.name: layer.lam for layer in layers if layer.lam is not None}
    by = math.exp(float(np.mean(np.log(list(lams.values()))))) if is_relative and lams else 1.0
    return {name: lam / by for name, lam in lams.items()}


def _noise_precision(layers: Mapping[str, tuple[Floats, float]], n: int, squared_errors: float) -> float:
    """Return β, which solves β·Σe² = N − Σγ(β); at least one row is left to tell the noise by."""

    def gap(log_beta: float) -> float:
        beta = math.exp(log_beta)
        effective = sum(fixed_point(n * beta / 2 * h, norm)[1] for h, norm in layers.values())
        return beta * squared_errors - max(n - effective, 1.0)

    # A network that fits every row leaves no noise to see; its errors are then those of rounding.
    squared_errors = max(squared_errors, n * 1e-12)
    low, high = math.log(0.5 / squared_errors), math.log(1.01 * n / squared_errors)
    return math.exp(float(brentq(gap, low, high, xtol=1e-10)))
