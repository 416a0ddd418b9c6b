"""How the validation loss answers to the strength of each layer: an implicit derivative, and what it advises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor, nn

from shrinkwise.experiments.selection.curvature.course import AT_REST, Course
from shrinkwise.experiments.selection.curvature.network import Trained, at_rest
from shrinkwise.experiments.selection.layers import LayerSensitivity
from shrinkwise.regularization.rules import place

MORE, LESS, UNCLEAR = "wants more", "wants less", "no clear direction"
_CLEAR = 2.0
_STEPS = 2_000

Rows = tuple[Tensor, Tensor]


def slopes(
    model: nn.Module,
    train: Rows,
    val: Rows,
    task: str,
    lams: Mapping[str, float],
    *,
    course: Course = AT_REST,
    tolerance: float = 1e-4,
) -> dict[str, float]:
    """Return the derivative of the mean validation loss by log λ of each penalised parameter, at the trained weights.

    Where the weights minimise mean loss + ½Σλ_l‖w_l‖², the implicit function theorem gives −λ_l·⟨w_l, [(H + Λ)⁻¹ ∇L_val]_l⟩
    (Larsen et al., 1996; Lorraine, Vicol and Duvenaud, AISTATS 2020): one linear system for all layers, solved by conjugate
    gradients. H is the Gauss-Newton matrix over every trained parameter, Λ has λ_l on the penalised ones and 0 on the others.

    H + Λ is all but singular where λ is small, and training ends long before such directions have come to rest: ``course`` adds to
    its diagonal what training of this length amounts to, and says where decay is no gradient of a penalty.

    Args:
        model: The trained network. It is looked at in eval mode, and left as it was.
        train: Training rows and targets.
        val: Validation rows and targets.
        task: ``classification`` or ``regression``.
        lams: Parameter name -> its strength in the package's one unit, mean loss + (lam/2)·Σw²; those of strength 0 have no slope.
        course: How the weights came to where they are.
        tolerance: Residual of the linear system at which it counts as solved, as a share of its right side.

    Returns:
        Parameter name -> slope; NaN for all where the linear system was not solved in 2,000 steps.

    Raises:
        MissingExtraError: curvlinops is not installed.
        ModelError: The network cannot be differentiated as this needs it.
    """
    trained = Trained(model, *train, task)
    placements = [placement for placement in place(model) if not placement.is_frozen]
    parameters = [placement.parameter for placement in placements]
    strengths = [float(lams.get(placement.name, 0.0)) for placement in placements]
    pulls = [lam * course.pull_on(placement) for placement, lam in zip(placements, strengths, strict=True)]
    dampings = [course.damping * course.rate_of(placement) for placement in placements]
    diagonal = _flat([pull + damping for pull, damping in zip(pulls, dampings, strict=True)]).double().cpu()
    with at_rest(model):
        operator = trained.gauss_newton(parameters)
        right = _flat(trained.gradient(parameters, trained.cut(*val)))

        def product(v: np.ndarray) -> np.ndarray:
            vector = torch.as_tensor(v.ravel(), dtype=right.dtype, device=right.device)
            return np.asarray((operator @ vector).double().cpu() + diagonal * torch.as_tensor(v.ravel()))

        b = np.asarray(right.double().cpu())
        system = LinearOperator((len(b), len(b)), matvec=product, dtype=np.float64)
        # Adam's divisors span decades; seen beside them, the system is no worse than under SGD.
        scales = np.asarray(diagonal) if course.divisors else np.ones(len(b))
        beside = LinearOperator(system.shape, matvec=lambda v: v.ravel() / scales, dtype=np.float64)
        solution, left_over = cg(system, b, rtol=tolerance, maxiter=_STEPS, M=beside)
    parts = torch.as_tensor(solution).split([parameter.numel() for parameter in parameters])
    return {
        placement.name: math.nan if left_over else -float((pull * placement.parameter.detach()).double().cpu().flatten() @ part)
        for placement, part, pull, lam in zip(placements, parts, pulls, strengths, strict=True)
        if lam
    }


def pooled(seeds: Sequence[Mapping[str, float]]) -> tuple[LayerSensitivity, ...]:
    """Return the mean slope of each layer over seeds, its standard error, and what follows.

    Args:
        seeds: For each seed what :func:`slopes` said; seeds in which it is NaN are left out.

    >>> [(layer.name, layer.advice) for layer in pooled([{"a": -1.0, "b": 0.1}, {"a": -1.1, "b": -0.2}, {"a": -0.9, "b": 0.0}])]
    [('a', 'wants more'), ('b', 'no clear direction')]
    """
    layers = []
    for name in seeds[0] if seeds else ():
        values = np.array([found[name] for found in seeds if not math.isnan(found[name])])
        slope = float(values.mean()) if len(values) else math.nan
        error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
        advice = UNCLEAR if not abs(slope) > _CLEAR * error else MORE if slope < 0 else LESS
        layers.append(LayerSensitivity(name, slope, error, len(values), advice))
    return tuple(layers)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
