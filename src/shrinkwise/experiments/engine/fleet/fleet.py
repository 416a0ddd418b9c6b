"""From runs to fleets: which can be trained together, and how."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from shrinkwise.errors import ShrinkwiseError, ShrinkwiseWarning, StackingWarning
from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine.fleet.dense.chain import Dense
from shrinkwise.experiments.engine.fleet.dense.inputs import Inputs, told_apart
from shrinkwise.experiments.engine.fleet.dense.passes import DensePasses
from shrinkwise.experiments.engine.fleet.dense.rows import side_by_side
from shrinkwise.experiments.engine.fleet.dense.silencing import Silencing
from shrinkwise.experiments.engine.fleet.descent import SGD, Adam
from shrinkwise.experiments.engine.fleet.first_step import agrees
from shrinkwise.experiments.engine.fleet.groups import Feed, Group, grouped
from shrinkwise.experiments.engine.fleet.modules.vmapped import VmappedPasses
from shrinkwise.experiments.engine.fleet.passes import Passes
from shrinkwise.experiments.engine.fleet.rates import Rates
from shrinkwise.experiments.engine.fleet.stack import REST, Stack
from shrinkwise.experiments.engine.fleet.stackable import Stackable, stackable
from shrinkwise.experiments.engine.fleet.training import Fleet
from shrinkwise.experiments.engine.fleet.updates import Update
from shrinkwise.experiments.engine.ledger import Ledger, failed
from shrinkwise.experiments.engine.live import LiveRun, Rows, prepare, rows_of
from shrinkwise.experiments.engine.pace import paced
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.single import train_model
from shrinkwise.experiments.engine.threads import limited_threads
from shrinkwise.experiments.records import Record, RunKey
from shrinkwise.regularization.dropout import Dropout, dropouts

Run = tuple[Split, RunKey]
"""The rows of a run, and which run it is."""

Trained = tuple[nn.Module | None, Record]
"""A run's network, where it is kept, and its record."""


def train_fleet(recipe: Recipe, runs: Sequence[Run], size: int | None = None) -> Iterator[Record]:
    """Train many runs, together where they can be, and yield the record of each as its fleet ends.

    Every run gives what :func:`train_one` gives, to rounding: the same weights at the start, batches, masks, steps and rules, in
    any order, in fleets of any size and in any company. A run that ends early leaves its fleet. Runs whose network or optimiser
    cannot be stacked are trained alone, by the single loop.

    Args:
        recipe: How to train.
        runs: Rows and name of each run.
        size: The most runs of a fleet; None for no bound.

    Yields:
        Records, each once. A run in which a user's network or optimiser raised has failed.

    Raises:
        ShrinkwiseError: A network's outputs do not fit the task, or a setting is out of range.

    Warns:
        StackingWarning: A stacked network did not do what the network alone does, and its runs were trained alone.
    """
    return (record for ended in train_together(recipe, runs, size) for _, record in ended)


def train_together(recipe: Recipe, runs: Sequence[Run], size: int | None = None, keep: bool = False) -> Iterator[list[Trained]]:
    """Train runs as :func:`train_fleet` does, and yield at once what ended together.

    Args:
        recipe: How to train.
        runs: Rows and name of each run.
        size: The most runs of a fleet; None for no bound.
        keep: Whether to keep each network, with the weights of its last epoch, as ``train_model`` does; else None is in its place.
    """
    size = size or max(1, len(runs))
    for begin in range(0, len(runs), size):
        yield from _train_part(recipe, runs[begin : begin + size], keep)


def _train_part(recipe: Recipe, runs: Sequence[Run], keep: bool) -> Iterator[list[Trained]]:
    alone: list[Run] = []
    stacks: list[list[Stackable]] = []
    # Rows of one split are one tensor, on a GPU too.
    rows: dict[int, Rows] = {}
    for split, key in runs:
        started = time.perf_counter()
        try:
            with limited_threads(recipe.threads):
                if id(split) not in rows:
                    rows[id(split)] = rows_of(recipe, split)
                found = stackable(recipe, prepare(recipe, split, key, rows[id(split)]))
        except ShrinkwiseError:
            raise
        except Exception as error:  # noqa: BLE001  anything may come out of a user's code
            yield [(None, failed(recipe, split, key, error, time.perf_counter() - started))]
            continue
        mine = None if isinstance(found, str) else next((stack for stack in stacks if stack[0].fits(found)), None)
        if isinstance(found, str):
            alone.append((split, key))
        elif mine is None:
            stacks.append([found])
        else:
            mine.append(found)
    for stack in stacks:
        trained = _tried(recipe, stack, keep) if len(stack) > 1 else None
        if trained is None:
            alone += [(each.live.split, each.live.key) for each in stack]
        else:
            yield trained
    for split, key in alone:
        yield [_train_alone(recipe, split, key, keep)]


def _train_alone(recipe: Recipe, split: Split, key: RunKey, keep: bool) -> Trained:
    started = time.perf_counter()
    try:
        model, record = train_model(recipe, split, key)
    except ShrinkwiseError:
        raise
    except Exception as error:  # noqa: BLE001  anything may come out of a user's code
        return None, failed(recipe, split, key, error, time.perf_counter() - started)
    return model if keep else None, record


def _tried(recipe: Recipe, stack: Sequence[Stackable], keep: bool) -> list[Trained] | None:
    """Train runs together; None, and a warning, where that cannot be done: each is then tried alone."""
    try:
        return _train_stack(recipe, stack, keep)
    except ShrinkwiseError:
        raise
    except ShrinkwiseWarning:  # where warnings are errors
        raise
    except Exception as error:  # noqa: BLE001  memory may run out, and anything may come out of a user's code
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        warnings.warn(f"runs could not be trained together ({said}): they are trained one by one.", StackingWarning, stacklevel=2)
        return None


def _train_stack(recipe: Recipe, stack: Sequence[Stackable], keep: bool) -> list[Trained] | None:
    """Train runs together; None where that turns out not to be what each does alone."""
    started = time.perf_counter()
    with limited_threads(recipe.threads):
        found = grouped([each.live for each in stack])
        # Runs of one strength stand side by side, so that a block that is moved at once has one wherever that can be.
        ordered = [sorted(group, key=lambda live: (live.lam, [dropout.p for dropout in dropouts(live.model)])) for group in found]
        of_live = {id(each.live): each for each in stack}
        members = [of_live[id(live)] for group in ordered for live in group]
        groups = [_group(group) for group in ordered]
        fleet = _fleet(recipe, members, groups, started)
        if not agrees(recipe, fleet, [each.live for each in members]):
            name = type(members[0].live.model).__name__
            said = f"{name} does not do in a stack what it does alone: its runs are trained one by one."
            warnings.warn(said, StackingWarning, stacklevel=2)
            return None
        records = fleet.train(keep_weights=keep)
    networks: list[nn.Module | None] = [None] * len(members)
    for place, state in fleet.finals.items():
        model = members[place].live.model
        model.load_state_dict(state, strict=False)
        networks[place] = model.eval()
    return list(zip(networks, records, strict=True))


def _group(lives: Sequence[LiveRun]) -> Group:
    first = lives[0]
    x_test = torch.from_numpy(first.split.x_test).to(first.x.device)
    return Group(first.key.seed, first.x, first.x_val, x_test, len(lives))


def _fleet(recipe: Recipe, members: Sequence[Stackable], groups: Sequence[Group], started: float) -> Fleet:
    lives, first = [each.live for each in members], members[0]
    recipe = paced(recipe, len(first.live.y))
    stack = Stack([live.model for live in lives], first.trained)
    inputs = _told_apart(first.chain, lives, groups)
    if first.chain is not None:
        groups = side_by_side(groups, inputs)
    if inputs is not None:
        stack.cut(inputs.split)
        if first.reading.rule.kind == "sgd" or not any(hand.coupled for each in members for hand in each.reading.hands.values()):
            # Decoupled decay and SGD's move a weight by a share of it. Adam's coupled decay does not: it divides by its size.
            stack.only_shrinks(inputs.weight + REST)
    rates = Rates(recipe, [each.reading.hands for each in members], [live.bound for live in lives], stack.parameters)
    if first.chain is None:
        passes: Passes = VmappedPasses(recipe, lives, stack, groups)
    else:
        passes = DensePasses(recipe, first.chain, stack, groups, _silencing(first.chain, lives, groups))
    make = SGD if first.reading.rule.kind == "sgd" else Adam
    update: Update = make(stack.parameters, rates, first.reading.rule, passes.blocking)
    y, y_val = torch.stack([live.y for live in lives]), torch.stack([live.y_val for live in lives])
    feed = Feed(groups, y, y_val, recipe.batch_size)
    ledgers = [Ledger(recipe, live.split, live.key, live.lam, live.matrices) for live in lives]
    return Fleet(recipe, ledgers, stack, update, passes, feed, started, inputs.join if inputs is not None else dict)


def _told_apart(chain: Sequence[Dense] | None, lives: Sequence[LiveRun], groups: Sequence[Group]) -> Inputs | None:
    # A penalty on groups of weights knows the whole weight.
    if chain is None or any(live.bound is not None for live in lives):
        return None
    return told_apart(chain[0].weight, groups)


def _silencing(chain: Sequence[Dense], lives: Sequence[LiveRun], groups: Sequence[Group]) -> Silencing | None:
    modules: dict[int, Sequence[Dropout]] = {}
    widths: dict[int, int] = {}
    for number, layer in enumerate(chain):
        if layer.dropout is not None:
            each = [live.model.get_submodule(layer.dropout) for live in lives]
            modules[number] = [dropout for dropout in each if isinstance(dropout, Dropout)]
            widths[number] = lives[0].model.get_parameter(layer.weight).shape[0]
    return Silencing(modules, widths, groups) if any(dropout.p for each in modules.values() for dropout in each) else None
