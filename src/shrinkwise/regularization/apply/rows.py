"""Decay of embeddings by rows, where a step touches few of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.regularization.apply import guard
from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.clock import is_skipped
from shrinkwise.regularization.apply.optimizers import check_held, check_still_held, group_of_each, unwrapped
from shrinkwise.regularization.apply.rounding import lost_to, warn_of_rounding
from shrinkwise.regularization.apply.stephook import BeforeStep, register
from shrinkwise.regularization.penalties import L2, check_strength
from shrinkwise.regularization.rules import Key, Placement, Role, assign, place

RowMode = Literal["touched", "catch_up"]
"""Which steps shrink a row: see :func:`decay_rows`."""

_BY_ROWS = ("by decay_rows()", "set weight_decay=0 on the embeddings, or leave decay_rows() out")
_LOOKUPS = (nn.Embedding, nn.EmbeddingBag)
# Those under which a row without a gradient stays where it is, so that its shrink can wait.
_LEAVES_ROWS_ALONE = (torch.optim.SGD, torch.optim.SparseAdam, torch.optim.Adagrad)


class RowDecay:
    """Decay that shrinks rows of embeddings: what :func:`decay_rows` returns.

    Attributes:
        terms: The embeddings and their strengths.
        mode: ``touched`` or ``catch_up``.
    """

    acts_on_weights: ClassVar[bool] = True

    def __init__(self, terms: tuple[Term, ...], mode: RowMode) -> None:
        self.terms, self.mode = terms, mode
        self._due = [_Due(term.placement.parameter) for term in terms] if mode == "catch_up" else []
        self._handles: list[RemovableHandle] = []
        self._held = {term.key for term in terms}
        self._warned = False

    def __repr__(self) -> str:
        return f"RowDecay(mode={self.mode!r}, {', '.join(f'{term.name}: {term.penalty.strength:g}' for term in self.terms)})"

    def flush(self) -> None:
        """Give every row the shrink that it still misses; ``state_dict`` and a forward pass in eval mode do so by themselves."""
        for due in self._due:
            due.settle(None)

    def remove(self) -> None:
        """Flush, and end the decay."""
        self.flush()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def register(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Add the hooks to the optimiser and, in ``catch_up``, to the modules that read the embeddings."""
        self._handles.append(register(optimizer, BeforeStep(self, self._shrink)))
        self._handles.append(optimizer.register_load_state_dict_post_hook(self._check))
        due_of = {id(due.weight): due for due in self._due}
        for module in model.modules():
            due = due_of.get(id(module.weight)) if isinstance(module, _LOOKUPS) else None
            if due is not None:
                self._handles += [
                    module.register_forward_pre_hook(due.before_forward),
                    module.register_state_dict_pre_hook(due.before_state_dict),
                    module.register_load_state_dict_post_hook(due.after_load),
                ]

    def _check(self, optimizer: Optimizer) -> None:
        """Refuse to act on nothing and to act twice: groups may have got other parameters or a decay since."""
        check_still_held(self.terms, self._held, group_of_each(optimizer))
        guard.check_single(self.terms, optimizer, *_BY_ROWS, but=self)

    @torch.no_grad()
    def _shrink(self, optimizer: Optimizer) -> None:
        self._check(optimizer)
        if is_skipped(optimizer):
            return
        group_of = group_of_each(optimizer)
        for i, term in enumerate(self.terms):
            weight = term.placement.parameter
            if weight.grad is None:
                continue
            shrink = float(optimizer.param_groups[group_of[id(weight)]]["lr"]) * term.penalty.strength
            rows = _rows_of(weight.grad)
            if self.mode == "touched":
                if not self._warned and (dtype := lost_to([weight], shrink)):
                    self._warned = True
                    warn_of_rounding(dtype, shrink)
                weight[rows] *= 1 - shrink
            else:
                self._due[i].add(shrink)
                self._due[i].settle(rows)


class _Due:
    """The shrink that each row of one embedding still misses.

    Each step adds to one running logarithm; a row remembers where that stood when it was last brought up to date, in float64:
    eight bytes a row.
    """

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight = weight
        self.total = 0.0
        self.settled = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
        self.is_settled = True

    def add(self, shrink: float) -> None:
        """Owe every row one more step's shrink."""
        if shrink >= 1:
            cause = "the step would turn the weights to zero, or turn their sign"
            raise SettingError(f"lr·weight_decay is {shrink:g}", cause, "lower one of them until the product is below 1")
        self.total += math.log1p(-shrink)
        self.is_settled = False

    @torch.no_grad()
    def settle(self, rows: torch.Tensor | None) -> None:
        """Bring rows up to date, all of them if None."""
        if self.is_settled:
            return
        self.settled = self.settled.to(self.weight.device)  # a model may be moved after its decay began
        # A row whose account stands is left alone, to the last bit, and so is the graph that may have read it.
        behind = (self.settled != self.total).nonzero().squeeze(1) if rows is None else rows[self.settled[rows] != self.total]
        if behind.numel():
            factor = torch.exp(self.total - self.settled[behind]).unsqueeze(1)
            accurate = torch.promote_types(self.weight.dtype, torch.float32)
            self.weight[behind] = (self.weight[behind] * factor.to(accurate)).to(self.weight.dtype)
            self.settled[behind] = self.total
        self.is_settled = rows is None

    def before_forward(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Bring the rows up to date that the forward pass is about to read; in eval mode, all."""
        self.settle(args[0].unique() if module.training and args else None)

    def before_state_dict(self, module: nn.Module, *_: Any) -> None:
        """Let a checkpoint hold the weights of dense decay."""
        self.settle(None)

    def after_load(self, module: nn.Module, *_: Any) -> None:
        """Owe nothing on weights that were loaded."""
        self.settled.fill_(self.total)
        self.is_settled = True


def decay_rows(model: nn.Module, optimizer: Optimizer, weight_decay: float | Mapping[Key, float], *, mode: RowMode) -> RowDecay:
    """Decay embeddings of which a step touches few rows, sparse gradients or not.

    Dense decay shrinks a rare row at every step though nothing holds against it (torchtitan#2599), and torch refuses
    ``weight_decay`` beside sparse gradients. Two modes, both decoupled: a step's shrink is lr·weight_decay.

    * ``touched``: a row is shrunk only by the steps that touch it, that is, in which it has a gradient. A rare row is then
      shrunk as rarely as it learns, and a row such as ``padding_idx`` never. This is another method than dense decay.
    * ``catch_up``: equal to dense decay, at the cost of the touched rows: a row that is read again first receives the shrink that
      it missed, before the forward pass reads it. ``state_dict`` and a forward pass in eval mode bring all rows up to date; code
      that reads ``embedding.weight`` by itself calls :meth:`RowDecay.flush` first. It holds where a row without a gradient stays
      where it is: SGD without momentum, SparseAdam, and Adagrad; elsewhere it is refused.

    Args:
        model: Any module with Embedding or EmbeddingBag.
        optimizer: The optimiser that holds them, with no ``weight_decay`` of its own on them.
        weight_decay: Strength in AdamW's unit for all embeddings, or a mapping from keys as in ``param_groups``, in which a module
            means the embeddings inside it.
        mode: ``touched`` or ``catch_up``.

    Returns:
        What acts, with ``flush()`` and ``remove()``.

    Raises:
        SettingError: The mode is unknown or does not fit the optimiser, a strength is none, a key names something that is no
            embedding, an embedding is tied to a layer that reads all its rows, or its decay would count twice. In ``catch_up``, at
            a step, where lr·weight_decay is 1 or more: a row whose weights were turned to zero has no way to catch up.

    >>> model = nn.Embedding(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> decay = decay_rows(model, optimizer, 1.0, mode="touched")
    >>> with torch.no_grad():
    ...     _ = model.weight.fill_(1)
    >>> (0 * model(torch.tensor([1, 2]))).sum().backward()
    >>> model.weight.grad[1:3] = 0.1
    >>> optimizer.step()
    >>> model.weight.detach().squeeze().tolist() == [1.0, *[torch.tensor(0.9).sub(torch.tensor(0.01)).item()] * 2, 1.0]
    True
    """
    if mode not in get_args(RowMode):
        raise SettingError(
            f"mode is {mode!r}", "there is no such mode of decay by rows", did_you_mean(str(mode), get_args(RowMode))
        )
    optimizer = unwrapped(optimizer)
    for key, strength in weight_decay.items() if isinstance(weight_decay, Mapping) else [(None, weight_decay)]:
        check_strength(strength, "weight_decay" if key is None else f"weight_decay[{key!r}]")
    tables = [placement for placement in place(model) if placement.role is Role.EMBEDDING]
    if not tables:
        raise SettingError(f"{type(model).__name__} has no embedding", "only an embedding is read by rows", "use param_groups")
    assigned: tuple[tuple[Placement, float], ...] = assign(tables, weight_decay, slot="weight_decay of rows", apply_to="all")
    terms = tuple(Term(placement, L2(strength)) for placement, strength in assigned if strength)
    for term in terms:
        _check_lookup(term.placement)
    check_held((term.placement for term in terms), [optimizer])
    guard.check_single(terms, optimizer, *_BY_ROWS)
    if mode == "catch_up":
        _check_rows_stay(terms, optimizer)
    decay = RowDecay(terms, mode)
    decay.register(model, optimizer)
    return decay


def _check_lookup(placement: Placement) -> None:
    held = zip(placement.names, placement.types, strict=True)
    # Another own name is that of a parametrisation's part, which no lookup reads by itself.
    others = [name for name, kind in held if not (issubclass(kind, _LOOKUPS) and name.rpartition(".")[2] == "weight")]
    if len(others) == len(placement.names):
        raise SettingError(
            f"{placement.name} is no embedding", "only an embedding is read by rows", "use param_groups or attach for it"
        )
    if others:
        cause = f"{others[0]} reads every row at every step, so no row is ever left alone"
        raise SettingError(
            f"{placement.name} is tied to {others[0]}", cause, "use param_groups with a key for it, such as 'embedding'"
        )


def _check_rows_stay(terms: Iterable[Term], optimizer: Optimizer) -> None:
    group_of = group_of_each(optimizer)
    groups = [optimizer.param_groups[group_of[id(term.placement.parameter)]] for term in terms]
    has_momentum = any(group.get("momentum") for group in groups)
    if not isinstance(optimizer, _LEAVES_ROWS_ALONE) or has_momentum:
        name = type(optimizer).__name__ + (" with momentum" if has_momentum else "")
        cause = "it moves rows that have no gradient, so their shrink cannot wait without changing the result"
        raise SettingError(f"mode is 'catch_up' under {name}", cause, "use SGD without momentum or SparseAdam, or mode='touched'")


def _rows_of(grad: torch.Tensor) -> torch.Tensor:
    """Return the rows that a gradient is about, the same in every replica once gradients have been averaged."""
    if grad.is_sparse:
        return grad.coalesce().indices()[0]  # a gradient of embeddings has one sparse dimension, so each row stands there once
    touched: torch.Tensor = grad.ne(0).any(dim=1)
    return touched.nonzero().squeeze(1)
