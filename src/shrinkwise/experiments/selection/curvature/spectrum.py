"""The eigenvalues of the Gauss-Newton matrix of the mean loss, one weight matrix or filter at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.selection.curvature.network import Trained, curvlinops
from shrinkwise.regularization.rules import Placement

Method = Literal["auto", "ggn", "kfac"]
"""Exact, by Kronecker factors, or exact where that costs little."""

CHEAP = 1_024
"""Values of a weight up to which ``auto`` takes the exact spectrum."""
POSSIBLE = 4_096
"""Values of a weight up to which an exact spectrum is taken at all: it holds the square of them, and takes their cube in time."""
WIDE = 4_096
"""Inputs or outputs of a layer up to which K-FAC takes its factors: it holds the square of them, and takes their cube in time."""
_ROWS = 64


def spectra(trained: Trained, weights: Sequence[Placement], method: Method) -> dict[str, Tensor]:
    """Return the eigenvalues of each weight's own block, float64, shape ``(n_values,)``, in no order.

    K-FAC (Martens and Grosse, ICML 2015; filters by Grosse and Martens, ICML 2016) with the exact curvature of the loss by the
    outputs. It knows weights that one Linear or Conv2d holds, of up to 4,096 inputs and outputs, and that this module's own forward
    uses. A weight that can be had in neither way is left out.

    Args:
        trained: The network at rest.
        weights: The weights to look at.
        method: ``ggn``, exact; ``kfac``; or ``auto``, exact for small ones and for those that K-FAC does not know.

    Raises:
        SettingError: ``method`` is unknown, or ``ggn`` is asked for a weight that is too large.
    """
    if method not in get_args(Method):
        raise SettingError(f"method is {method!r}", "there is no such spectrum", did_you_mean(str(method), get_args(Method)))
    factored = [] if method == "ggn" else _factorable(trained, weights)
    if method == "auto":
        factored = [weight for weight in factored if weight.parameter.numel() > CHEAP]
    found = by_factors(trained, factored) if factored else {}
    for weight in weights:
        n = weight.parameter.numel()
        if weight.name in found or method == "kfac" or (method == "auto" and n > POSSIBLE):
            continue
        if n > POSSIBLE:
            raise SettingError(
                f"{weight.name} has {n:,} values",
                f"an exact spectrum holds the square of that, and is taken of at most {POSSIBLE:,} values",
                "use method 'auto' or 'kfac'",
            )
        found[weight.name] = exact(trained, weight)
    return found


def exact(trained: Trained, weight: Placement) -> Tensor:
    """Return the eigenvalues of one weight's block.

    The block is a sum over rows, of each row's own Jacobian by this weight; a column at a time, it would cost as many passes over
    all rows as the weight has values.
    """
    (name,) = (name for name, parameter in trained.reader.named_parameters() if parameter is weight.parameter)

    def outputs(value: Tensor, row: Tensor) -> Tensor:
        found: Tensor = functional_call(trained.reader, {name: value}, (row[None],))
        return found[0]

    def root_times_jacobian(row: Tensor) -> Tensor:
        given = outputs(weight.parameter.detach(), row)
        jacobian: Tensor = jacrev(outputs)(weight.parameter.detach(), row)
        part: Tensor = _root(given, trained.task).T @ jacobian.flatten(1)
        return part

    n = weight.parameter.numel()
    total = torch.zeros(n, n, dtype=torch.float64, device=weight.parameter.device)
    with torch.no_grad():
        for x, _ in trained.batches:
            for rows in x.split(_ROWS):
                parts = vmap(root_times_jacobian)(rows).flatten(0, 1)
                total += (parts.T @ parts).double()
    eigenvalues: Tensor = torch.linalg.eigvalsh(total / trained.n)
    return eigenvalues.clamp(min=0)


def _root(outputs: Tensor, task: str) -> Tensor:
    """Return a square root R of the curvature RRᵀ of one row's loss by its outputs, shape ``(n_outputs, n_outputs)``."""
    if task == "regression":
        return torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device) * math.sqrt(2 / len(outputs))
    shares = outputs.softmax(0)
    return torch.diag(shares.sqrt()) - torch.outer(shares, shares.sqrt())


def by_factors(trained: Trained, weights: Sequence[Placement]) -> dict[str, Tensor]:
    """Return the eigenvalues of the K-FAC blocks of weights: all products of an eigenvalue of each factor."""
    library = curvlinops()
    operator = library.KFACLinearOperator(
        trained.reader,
        trained.loss,
        [weight.parameter for weight in weights],
        trained.batches,
        check_deterministic=False,
        fisher_type=library.FisherType.TYPE2,
        num_per_example_loss_terms=1,
        num_data=trained.n,
    )
    operator.compute_kronecker_factors()
    factors = operator.state_dict()
    names = {id(parameter): name.rpartition(".")[0] for name, parameter in trained.reader.named_parameters()}
    found = {}
    for weight in weights:
        module = names[id(weight.parameter)]
        inputs, outputs = (
            torch.linalg.eigvalsh(factors[f"{side}_covariances"][module].double()).clamp(min=0) for side in ("input", "gradient")
        )
        found[weight.name] = torch.outer(outputs, inputs).flatten()
    return found


def _factorable(trained: Trained, weights: Sequence[Placement]) -> list[Placement]:
    """Return the weights that one Linear or Conv2d of no great width holds, and whose module is called."""
    called: set[int] = set()
    with ExitStack() as stack, torch.no_grad():
        for module in trained.model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                handle = module.register_forward_hook(lambda module, *_: called.add(id(module.weight)))
                stack.callback(handle.remove)
        trained.reader(trained.batches[0][0][:2])
    return [
        weight
        for weight in weights
        if id(weight.parameter) in called and not weight.aliases and max(weight.parameter.flatten(1).shape) <= WIDE
    ]
