"""Decay by rows: touched rows alone, and rows that catch up, against dense decay written by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD

from problem import saved
from shrinkwise.regularization.apply import decay_rows
from tables import LAM, MODES, OPTIMIZERS, N, Words, assert_same, every_mode, every_optimizer, optimizer_of, step

# torch says so once of the sparse tensors that its Adagrad makes.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")


class ByHand:
    """The same training without decay_rows: the whole table, or the rows that a step touches, shrink before each step."""

    def __init__(self, mode, optimizer, model):
        self.mode, self.optimizer, self.model = mode, optimizer, model

    @torch.no_grad()
    def shrink(self, batches):
        weight = self.model.words.weight
        factor = 1 - self.optimizer.param_groups[0]["lr"] * LAM
        if self.mode == "catch_up":
            weight *= factor
        else:
            touched = {row for batch in batches for row in batch if row != self.model.words.padding_idx}
            weight[sorted(touched)] *= factor

    def step(self, batches, lr):
        step(self.model, self.optimizer, batches, lr, before=lambda: self.shrink(batches))


def train(mode, optimizer, history, **options):
    """Return the table after ``history`` under decay_rows, flushed, and as by hand."""
    model = Words(sparse=OPTIMIZERS[optimizer][1], **options)
    ours = optimizer_of(optimizer, model)
    decay = decay_rows(model, ours, {"embedding": LAM}, mode=mode)
    other = Words(sparse=OPTIMIZERS[optimizer][1], **options)
    by_hand = ByHand(mode, optimizer_of(optimizer, other), other)
    for batches, lr in history:
        step(model, ours, batches, lr)
        by_hand.step(batches, lr)
    decay.flush()
    return model.words.weight.detach(), other.words.weight.detach()


ROWS = st.lists(st.integers(0, N - 1), min_size=1, max_size=4)
HISTORY = st.lists(st.tuples(st.lists(ROWS, min_size=1, max_size=3), st.floats(0, 0.5)), min_size=1, max_size=12)
A_HISTORY = [([[0, 1]], 0.1), ([[2]], 0.2), ([[1, 1], [3]], 0.05), ([[2]], 0.1), ([[0, 3, 5]], 0.3), ([[5]], 0.1)]


@every_optimizer
@every_mode
@given(history=HISTORY)
@settings(max_examples=15)
def test_any_pattern_of_access_equals_the_decay_written_by_hand(mode, optimizer, history):
    assert_same(*train(mode, optimizer, history))


@every_optimizer
@every_mode
@pytest.mark.parametrize("kind", ["embedding", "bag"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_bags_and_padding_too(padding_idx, kind, mode, optimizer):
    ours, by_hand = train(mode, optimizer, A_HISTORY, kind=kind, padding_idx=padding_idx)
    assert_same(ours, by_hand)
    start = Words().words.weight.detach()
    if padding_idx is not None and mode == "touched":
        assert torch.equal(ours[padding_idx], start[padding_idx])
    # Rows 4 and 6 are never read.
    left = 1.0
    for _, lr in A_HISTORY:
        left *= 1 - lr * LAM
    torch.testing.assert_close(ours[[4, 6]], start[[4, 6]] * (left if mode == "catch_up" else 1.0))


def test_touched_is_another_method_than_dense_decay_and_catch_up_is_dense_decay():
    touched, caught_up = (train(mode, "sgd", A_HISTORY)[0] for mode in MODES)
    assert (touched - caught_up).abs().max() > 1e-2
    model = Words()
    optimizer = SGD(model.words.parameters(), lr=0.1, weight_decay=LAM)  # under plain SGD coupled decay is the same
    for batches, lr in A_HISTORY:
        step(model, optimizer, batches, lr)
    assert_same(caught_up, model.words.weight.detach())


def test_rows_catch_up_before_they_are_read_and_no_others():
    model = Words()
    optimizer = SGD(model.words.parameters(), lr=0.1)
    decay_rows(model, optimizer, LAM, mode="catch_up")
    start = model.words.weight.detach().clone()
    for _ in range(3):
        step(model, optimizer, [[0]], 0.1)
    assert torch.equal(model.words.weight[5], start[5])
    torch.testing.assert_close(model.words(torch.tensor([5])).detach()[0], start[5] * (1 - 0.1 * LAM) ** 3)
    assert torch.equal(model.words.weight[6], start[6])
    model.words(input=torch.tensor([0]))  # an argument by name is not looked into: every row catches up
    torch.testing.assert_close(model.words.weight[6].detach(), start[6] * (1 - 0.1 * LAM) ** 3)


@pytest.mark.parametrize("how", ["flush", "state_dict", "state_dict_of_the_table", "eval", "remove"])
def test_what_brings_all_rows_up_to_date(how):
    model, other = Words(), Words()
    optimizer = optimizer_of("sgd", model)
    decay = decay_rows(model, optimizer, LAM, mode="catch_up")
    by_hand = ByHand("catch_up", optimizer_of("sgd", other), other)
    for batches, lr in A_HISTORY:
        step(model, optimizer, batches, lr)
        by_hand.step(batches, lr)
    assert not torch.allclose(model.words.weight, other.words.weight)
    found = {
        "flush": decay.flush,
        "state_dict": lambda: model.state_dict()["words.weight"],
        "state_dict_of_the_table": lambda: model.words.state_dict()["weight"],
        "eval": lambda: model.eval()(torch.tensor([0])),
        "remove": decay.remove,
    }[how]()
    assert_same(model.words.weight.detach(), other.words.weight.detach())
    if how.startswith("state_dict"):
        assert_same(found, other.words.weight.detach())


@every_mode
def test_training_goes_on_after_a_flush_an_evaluation_and_a_checkpoint(mode):
    model, other = Words(), Words()
    optimizer = optimizer_of("adagrad", model)
    decay = decay_rows(model, optimizer, LAM, mode=mode)
    by_hand = ByHand(mode, optimizer_of("adagrad", other), other)
    for i, (batches, lr) in enumerate(A_HISTORY * 2):
        step(model, optimizer, batches, lr)
        by_hand.step(batches, lr)
        if i % 3 == 0:
            model.eval()(torch.tensor([1]))
            model.train()
        if i % 4 == 0:
            model.state_dict()
        if i % 5 == 0:
            decay.flush()
        with torch.no_grad():
            model(torch.tensor([6, 2]))  # a forward pass without a step, in train mode
    decay.flush()
    assert_same(model.words.weight.detach(), other.words.weight.detach())


@every_optimizer
@every_mode
def test_training_that_is_resumed_equals_training_that_never_stopped(mode, optimizer):
    results = []
    for is_interrupted in (False, True):
        model = Words(sparse=OPTIMIZERS[optimizer][1])
        stepped = optimizer_of(optimizer, model)
        decay = decay_rows(model, stepped, LAM, mode=mode)
        for i, (batches, lr) in enumerate(A_HISTORY * 2):
            if is_interrupted and i in (3, 8):
                checkpoint = saved(model, stepped)
                model = Words(sparse=OPTIMIZERS[optimizer][1])
                stepped = optimizer_of(optimizer, model)
                decay = decay_rows(model, stepped, LAM, mode=mode)
                model.load_state_dict(checkpoint[0])
                stepped.load_state_dict(checkpoint[1])
            step(model, stepped, batches, lr)
        decay.flush()
        results.append(model.words.weight.detach())
    assert_same(*results)


def test_going_back_to_a_checkpoint_owes_nothing_on_it():
    model = Words()
    optimizer = optimizer_of("sgd", model)
    decay = decay_rows(model, optimizer, LAM, mode="catch_up")
    step(model, optimizer, [[0]], 0.1)
    (kept,) = saved(model)
    for _ in range(3):
        step(model, optimizer, [[0]], 0.1)
    model.load_state_dict(kept)
    decay.flush()
    assert torch.equal(model.words.weight, kept["words.weight"])
    step(model, optimizer, [[0]], 0.1)
    decay.flush()
    torch.testing.assert_close(model.words.weight[1:].detach(), kept["words.weight"][1:] * (1 - 0.1 * LAM))


@every_mode
def test_a_step_with_a_closure_is_the_same_step(mode):
    results = []
    for is_closure in (False, True):
        model = Words()
        optimizer = optimizer_of("sgd", model)
        decay = decay_rows(model, optimizer, LAM, mode=mode)
        for batches, lr in A_HISTORY:
            if is_closure:
                optimizer.param_groups[0]["lr"] = lr

                def closure():
                    optimizer.zero_grad()  # noqa: B023  called within the round
                    loss = sum(model(torch.tensor(batch)) for batch in batches) / len(batches)  # noqa: B023
                    loss.backward()
                    return loss.detach()

                assert optimizer.step(closure) > 0
            else:
                step(model, optimizer, batches, lr)
        decay.flush()
        results.append(model.words.weight.detach())
    assert_same(*results)


@every_mode
def test_two_tables_have_strengths_and_accounts_of_their_own(mode):
    model = nn.ModuleDict({"a": nn.Embedding(4, 2, sparse=True), "b": nn.Embedding(5, 3), "c": nn.Embedding(3, 2)}).double()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = SGD(
        [{"params": model["a"].parameters(), "lr": 0.2}, {"params": [*model["b"].parameters(), *model["c"].parameters()]}], lr=0.1
    )
    decay = decay_rows(model, optimizer, {"embedding": 1.0, "b": 0, "b.weight": 2.0, "c.weight": 0}, mode=mode)
    for _ in range(2):
        optimizer.zero_grad()
        for name, table in model.items():
            (table(torch.tensor([1])) * 1e-9).sum().backward()
            assert table.weight.grad is not None, name
        optimizer.step()
    decay.flush()
    for name, shrink in (("a", 0.2), ("b", 0.2), ("c", 0.0)):
        weight, before = model[name].weight.detach(), start[f"{name}.weight"]
        torch.testing.assert_close(weight[1], before[1] * (1 - shrink) ** 2)
        torch.testing.assert_close(weight[0], before[0] * ((1 - shrink) ** 2 if mode == "catch_up" else 1))


@every_mode
def test_trap_6_no_gradient_is_no_decay_and_rows_with_zeroed_gradients_are_rows_that_are_not_touched(mode):
    model = Words()
    optimizer = optimizer_of("sgd", model)
    decay = decay_rows(model, optimizer, LAM, mode=mode)
    start = model.words.weight.detach().clone()
    optimizer.step()
    decay.flush()
    assert torch.equal(model.words.weight, start)
    model(torch.tensor([0, 1])).backward()
    model.words.weight.grad[1] = 0
    optimizer.step()
    decay.flush()
    torch.testing.assert_close(model.words.weight[1].detach(), start[1] * (1 - 0.1 * LAM if mode == "catch_up" else 1))


def test_remove_ends_the_decay_and_another_may_follow():
    model = Words()
    optimizer = optimizer_of("sgd", model)
    decay = decay_rows(model, optimizer, LAM, mode="catch_up")
    step(model, optimizer, [[0]], 0.1)
    decay.remove()
    decay.remove()
    before = model.words.weight[3].detach().clone()
    step(model, optimizer, [[0]], 0.1)
    model.state_dict()
    assert torch.equal(model.words.weight[3], before)
    decay_rows(model, optimizer, LAM, mode="touched")


def test_a_table_that_two_modules_share_has_one_account():
    model = nn.ModuleList([nn.Embedding(4, 2), nn.Embedding(4, 2)]).double()
    model[1].weight = model[0].weight
    start = model[0].weight.detach().clone()
    optimizer = SGD(model.parameters(), lr=0.1)
    decay_rows(model, optimizer, LAM, mode="catch_up")
    for _ in range(2):
        optimizer.zero_grad()
        (0 * model[0](torch.tensor([1]))).sum().backward()
        optimizer.step()
    torch.testing.assert_close(model[1](torch.tensor([3])).detach()[0], start[3] * (1 - 0.1 * LAM) ** 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_narrow_table_catches_up_in_one_rounding(dtype):
    model = nn.Embedding(3, 2, dtype=dtype)
    nn.init.ones_(model.weight)
    optimizer = SGD(model.parameters(), lr=0.1)
    decay = decay_rows(model, optimizer, 0.01, mode="catch_up")  # a step's 0.001 is lost to bfloat16, 300 steps are not
    for _ in range(300):
        model.weight.grad = torch.zeros_like(model.weight)
        optimizer.step()
    decay.flush()
    torch.testing.assert_close(model.weight.detach(), torch.full_like(model.weight, 0.999**300))


@every_mode
def test_a_bag_with_weights_that_learn_trains(mode):
    bag = nn.EmbeddingBag(4, 2, mode="sum")
    share = nn.Parameter(torch.ones(1, 2))
    optimizer = SGD([*bag.parameters(), share], lr=0.1)
    decay_rows(bag, optimizer, LAM, mode=mode)
    for _ in range(3):
        optimizer.zero_grad()
        rows = torch.tensor([[0, 1]])
        # Accumulated before the backward pass: the second reading finds its rows up to date and leaves the graph in peace.
        (bag(rows, per_sample_weights=share) + bag(rows, per_sample_weights=share)).sum().backward()
        optimizer.step()
    assert share.grad is not None
