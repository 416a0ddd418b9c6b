"""torch.compile of the model, the loss and the optimiser's step; with the compiler's front end, where no compiler is installed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shrinkwise as sw
from problem import Problem
from shrinkwise.regularization.strength.schedules import Cosine, ProportionalToLr

# torch warns of its own use of torch.jit when torch.compile is first imported.
pytestmark = [pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")]
LAM, LR, STEPS = 0.3, 0.05, 12


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def n_graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def train_with(problem, optimizer, *, loss=None, step=None, after=lambda: None):
    """Train and return the weights, and the number of graphs after three steps and at the end."""
    graphs = []
    for i in range(STEPS):
        optimizer.zero_grad()
        (loss or problem.loss)().backward()
        (step or optimizer.step)()
        after()
        if i in (2, STEPS - 1):
            graphs.append(n_graphs())
    return problem.vector, graphs


def attached(form, schedule, compiled):
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=LR, momentum=0.9)
    sw.Regularizer(l2=LAM, l1=0.01, schedule=schedule).bind(problem.model).attach(optimizer, form=form)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    if not compiled:
        return train_with(problem, optimizer, after=scheduler.step)
    problem.model = torch.compile(problem.model, backend="aot_eager")
    # The learning rate as torch asks for it in a compiled step; a number would compile anew at every change, with us or without.
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(LR, dtype=torch.float64)
    return train_with(problem, optimizer, step=torch.compile(optimizer.step, backend="aot_eager"), after=scheduler.step)


@pytest.mark.parametrize("schedule", [None, Cosine(20), ProportionalToLr()], ids=repr)
@pytest.mark.parametrize("form", ["coupled", "decoupled", "proximal"])
def test_trap_9_a_compiled_step_follows_a_schedule_and_is_compiled_once(form, schedule):
    """A scheduled Python number recompiles under torch.compile, or freezes."""
    eager, _ = attached(form, schedule, compiled=False)
    compiled, graphs = attached(form, schedule, compiled=True)
    torch.testing.assert_close(compiled, eager, rtol=1e-9, atol=1e-11)
    assert graphs[0] == graphs[1] > 0


@pytest.mark.parametrize("schedule", [None, Cosine(20), ProportionalToLr()], ids=repr)
def test_trap_9_a_compiled_loss_follows_a_schedule_and_is_compiled_once(schedule):
    def run(compiled):
        problem = Problem()
        optimizer = torch.optim.SGD(problem.model.parameters(), lr=LR)
        bound = sw.Regularizer(l2=LAM, l1=0.01, schedule=schedule).bind(problem.model)
        bound.follow(optimizer)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

        def loss():
            return problem.loss() + bound.penalty()

        def after():
            scheduler.step()
            bound.refresh()

        return train_with(
            problem, optimizer, loss=torch.compile(loss, backend="aot_eager", fullgraph=True) if compiled else loss, after=after
        )

    eager, _ = run(False)
    compiled, graphs = run(True)
    torch.testing.assert_close(compiled, eager, rtol=1e-9, atol=1e-11)
    assert graphs == [1, 1]


def test_a_penalty_in_a_compiled_loss_is_still_not_counted_twice():
    problem = Problem()
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=LR)
    bound = sw.Regularizer(l2=LAM).bind(problem.model)
    torch.compile(lambda: problem.loss() + bound.penalty(), backend="aot_eager")().backward()
    with pytest.raises(sw.errors.SettingError, match=r"l2 acts twice.*weight_decay=0\.01"):
        optimizer.step()


@pytest.mark.parametrize("make", [lambda g: torch.optim.AdamW(g, lr=LR), lambda g: torch.optim.SGD(g, lr=LR)], ids=["adamw", "sgd"])
def test_param_groups_of_a_compiled_model_are_those_of_the_model(make):
    def run(compiled):
        problem = Problem()
        if compiled:
            problem.model = torch.compile(problem.model, backend="aot_eager")
        optimizer = make(sw.param_groups(problem.model, LAM))
        # Compiled in both runs: a compiled AdamW rounds its step sizes to float32.
        return train_with(problem, optimizer, step=torch.compile(optimizer.step, backend="aot_eager"))[0]

    torch.testing.assert_close(run(True), run(False), rtol=1e-9, atol=1e-11)


def test_decay_by_rows_under_a_compiled_model():
    def run(compiled):
        model = nn.Sequential(nn.Embedding(6, 2), nn.Flatten(), nn.Linear(4, 1))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        decay = sw.decay_rows(model, optimizer, 0.5, mode="catch_up")
        called = torch.compile(model, backend="aot_eager") if compiled else model
        for i in range(6):
            optimizer.zero_grad()
            called(torch.tensor([[i % 3, (i + 1) % 4]])).square().sum().backward()
            optimizer.step()
        decay.flush()
        return model[0].weight.detach()

    torch.testing.assert_close(run(True), run(False), rtol=1e-6, atol=1e-7)
