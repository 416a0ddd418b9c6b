"""What a parameter does, seen from how a model uses it: one forward pass under a mode that watches torch's functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from shrinkwise.errors import ModelError
from shrinkwise.regularization.rules.judgement import Judgement
from shrinkwise.regularization.rules.placement import Placement
from shrinkwise.regularization.rules.roles import Role, strongest
from shrinkwise.regularization.rules.snapshot import only_looking
from shrinkwise.seeding import isolated_rng

# Names of functions, less their underscores. The first three hand a parameter on as it is.
_RESHAPED = {"view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "expand_as", "repeat", "tile"}
_REORDERED = {"t", "transpose", "permute", "movedim", "swapaxes", "narrow", "select", "chunk", "split", "unbind"}
_COPIED = {"to", "type", "type_as", "float", "half", "bfloat16", "double", "clone", "detach", "contiguous"}
_SAME_PROPERTIES = {"T", "mT", "H", "mH", "data"}
_PRODUCTS = {"matmul", "rmatmul", "mm", "bmm", "mv", "grouped_mm", "einsum", "tensordot", "inner"}
_TIMES = {"mul", "rmul", "imul", "multiply", "div", "divide", "true_divide", "truediv", "itruediv"}
_PLUS = {"add", "radd", "iadd", "sub", "isub", "subtract"}
_JOINS = {"cat", "concat", "concatenate", "stack"}
_LOOKUPS = {"getitem", "index_select"}

_LAYER = ("input", "weight", "bias")
_STATISTICS = ("input", "running_mean", "running_var", "weight", "bias")
_WEIGHTS = {"weight": Role.WEIGHT, "bias": Role.BIAS}
_NORMS = {"weight": Role.NORM, "bias": Role.NORM}
_SUMS = {"input": Role.BIAS, "mat1": Role.WEIGHT, "mat2": Role.WEIGHT, "batch1": Role.WEIGHT, "batch2": Role.WEIGHT}

_ATTENTION = (
    *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v"),
    *("add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias"),
)
_ATTENTION_ROLES = {
    **{f"{part}_proj_weight": Role.WEIGHT for part in ("in", "out", "q", "k", "v")},
    **dict.fromkeys(("in_proj_bias", "out_proj_bias", "bias_k", "bias_v"), Role.BIAS),
}

_ARGUMENTS: Mapping[str, tuple[tuple[str, ...], Mapping[str, Role]]] = {
    "linear": (_LAYER, {**_WEIGHTS, "input": Role.TOKEN}),
    **{f"conv{way}{n}d": (_LAYER, _WEIGHTS) for way in ("", "_transpose") for n in (1, 2, 3)},
    "bilinear": (("input1", "input2", "weight", "bias"), _WEIGHTS),
    "addmm": (("input", "mat1", "mat2"), _SUMS),
    "baddbmm": (("input", "batch1", "batch2"), _SUMS),
    "layer_norm": (("input", "normalized_shape", "weight", "bias"), _NORMS),
    "rms_norm": (("input", "normalized_shape", "weight"), _NORMS),
    "group_norm": (("input", "num_groups", "weight", "bias"), _NORMS),
    "batch_norm": (_STATISTICS, _NORMS),
    "instance_norm": (_STATISTICS, _NORMS),
    "embedding": (("input", "weight"), {"weight": Role.EMBEDDING}),
    "embedding_bag": (("input", "weight"), {"weight": Role.EMBEDDING}),
    "multi_head_attention_forward": (_ATTENTION, _ATTENTION_ROLES),
    "prelu": (("input", "weight"), {"weight": Role.SCALE}),
}
"""Function -> the names of its arguments in order, and the role of a parameter that stands there."""


def uses_in(model: nn.Module, inputs: Any, placements: Sequence[Placement]) -> dict[int, Judgement]:
    """Run a model once and see what some of its parameters are used for.

    A parameter is followed through views and casts to the functions of torch that take it. It is left out of the answer where one
    of them says nothing of its role, and where none takes it. The mode of training stays as it is; parameters, buffers, attributes
    and random generators are as before afterwards, and no gradient is computed. The host holds a copy of the parameters meanwhile.

    Args:
        model: A module that is not wrapped.
        inputs: What its forward takes: a tensor, a tuple of positional arguments or a mapping of keywords.
        placements: The parameters to watch.

    Returns:
        Identity of a placement -> its role, never unknown, and the use that shows it.

    Raises:
        ModelError: The model does not run on ``inputs``, or a lazy module would be changed by running it.
    """
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        cause = "running a lazy module draws its weights"
        raise ModelError(f"{lazy[0]} has no shape yet", cause, "run the model once, then place its parameters with inputs")
    args, kwargs = _arguments(inputs)
    watch = _Watch(placements)
    try:
        with only_looking(model), isolated_rng("uses"), torch.no_grad(), watch:
            model(*args, **kwargs)
    except Exception as error:
        cause = "without a forward pass nobody sees how it uses its parameters"
        fact = f"{type(model).__name__} does not run on the given inputs ({type(error).__name__}: {error})"
        raise ModelError(fact, cause, "give what its forward takes: a tensor, a tuple, or a mapping of keywords") from error
    judgements = {id(placement): _judgement(placement, watch.seen[i]) for i, placement in enumerate(placements)}
    return {key: judgement for key, judgement in judgements.items() if judgement.role is not Role.UNKNOWN}


def _judgement(placement: Placement, seen: Sequence[tuple[Role, str]]) -> Judgement:
    role = strongest(role for role, _ in seen) if seen else Role.UNKNOWN
    use = next((use for found, use in seen if found is role), "")
    return Judgement(role, f"used as {use} in {placement.module_type}")


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), inputs
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


class _Watch(TorchFunctionMode):
    """Notes which functions take watched parameters, or what is only a view or a cast of them.

    Attributes:
        seen: For each watched placement the uses: a role, unknown where the function says nothing, and the use in words.
    """

    def __init__(self, placements: Sequence[Placement]) -> None:
        super().__init__()
        self.seen: list[list[tuple[Role, str]]] = [[] for _ in placements]
        # Tensors are kept beside what they stand for: an identity is only good while its object lives.
        self._stand_for: dict[int, tuple[torch.Tensor, frozenset[int]]] = {
            id(p.parameter): (p.parameter, frozenset({i})) for i, p in enumerate(placements)
        }

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        tensors = list(_tensors((args, tuple(kwargs.values()))))
        made = list(_tensors(result))
        if made and any(self._indices(tensor) for tensor in tensors):
            handed_on = self._handed_on(func, args, tensors)
            if handed_on is None:
                self._note(func.__name__.strip("_"), args, kwargs, made[0])
            else:
                self._stand_for.update({id(tensor): (tensor, handed_on) for tensor in made})
        return result

    def _handed_on(self, func: Callable[..., Any], args: tuple[Any, ...], tensors: Sequence[torch.Tensor]) -> frozenset[int] | None:
        """Return which parameters the result still is; None where the function makes something new."""
        indices = [self._indices(tensor) for tensor in tensors]
        if func.__name__ in _JOINS and all(indices):
            return frozenset[int]().union(*indices)
        # Of ``x.type_as(weight)`` the result is x: only the first tensor is handed on.
        return indices[0] if _is_view(func, args) else None

    def _indices(self, tensor: torch.Tensor) -> frozenset[int]:
        return self._stand_for.get(id(tensor), (tensor, frozenset[int]()))[1]

    def _note(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: torch.Tensor) -> None:
        names = _ARGUMENTS[function][0] if function in _ARGUMENTS else ()
        labels = [names[i] if i < len(names) else "" for i in range(len(args))]
        for label, argument in (*zip(labels, args, strict=True), *kwargs.items()):
            for tensor in _tensors(argument):
                for i in self._indices(tensor):
                    self.seen[i].append(_use(function, label, tensor, result))


def _use(function: str, label: str, tensor: torch.Tensor, result: torch.Tensor) -> tuple[Role, str]:
    if function in _ARGUMENTS:
        return _ARGUMENTS[function][1].get(label, Role.UNKNOWN), f"the {label} of {function}"
    is_vector = sum(n > 1 for n in tensor.shape) <= 1
    role = Role.UNKNOWN
    if function in _PRODUCTS:
        role = Role.WEIGHT
    elif function in _TIMES and is_vector:
        role = Role.SCALE
    elif function in _PLUS and (is_vector or tensor.shape != result.shape):
        # Rows that are added to every example of a batch are positions.
        role = Role.BIAS if is_vector else Role.TOKEN
    elif function in _JOINS:
        role = Role.TOKEN
    elif function in _LOOKUPS:
        role = Role.EMBEDDING
    return role, f"an operand of {function}"


def _is_view(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    name = func.__name__.strip("_")
    if name == "get":
        return getattr(getattr(func, "__self__", None), "__name__", "") in _SAME_PROPERTIES
    if name == "getitem":
        return not list(_tensors(args[1:]))
    return name in _RESHAPED | _REORDERED | _COPIED


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
