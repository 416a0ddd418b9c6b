"""What an audit says of optimisers that are none of torch's, or do something beside their groups' ``weight_decay``."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from shrinkwise.regularization.apply import Regularizer, param_groups
from shrinkwise.regularization.audit import audit
from shrinkwise.seeding import isolated_rng


def small(dtype=torch.float32):
    with isolated_rng("audit optimizers"):
        return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)


def codes(seen):
    return [finding.code for finding in seen.findings]


def finding(seen, code):
    (found,) = (finding for finding in seen.findings if finding.code == code)
    return found


class _Own(torch.optim.Optimizer):
    """The frame of an optimiser of somebody's own: subclasses say what a step does to a parameter."""

    def __init__(self, params, lr=0.1, **entries):
        self.n = 0
        super().__init__(params, {"lr": lr, **entries})

    @torch.no_grad()
    def step(self, closure=None):
        self.n += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, group)

    def move(self, parameter, group):
        raise NotImplementedError


class _OnItself(_Own):
    """Keeps its decay and its form on itself, as pytorch_optimizer does."""

    def __init__(self, params, lr=0.1, weight_decay=0.0, *, wd=0.0, decoupled=False):
        super().__init__(params, lr, weight_decay=weight_decay)
        self.wd, self.decoupled = wd, decoupled

    def move(self, parameter, group):
        decay = group["weight_decay"] + self.wd
        grad = parameter.grad if self.decoupled else parameter.grad + decay * parameter
        parameter.mul_(1 - group["lr"] * decay * self.decoupled)
        parameter.add_(grad / (grad.abs() + 1e-8), alpha=-group["lr"])


def test_options_that_an_optimiser_keeps_on_itself_are_those_of_its_stand_in():
    model = small()
    seen = audit(model, _OnItself(model.parameters(), weight_decay=0.1, decoupled=True))
    assert seen["0.weight"].penalty == "decay by weight_decay"
    assert seen["0.weight"].measured_shrink == pytest.approx(0.01, rel=1e-4)
    seen = audit(model, _OnItself(model.parameters(), wd=0.1, decoupled=True))
    assert "undeclared_shrink" in codes(seen)


class _Config:
    decay = 0.0


class _Configured(_Own):
    """Reads its decay from an object that no copy gets."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        super().__init__(params, lr, weight_decay=weight_decay)
        self.config = _Config()

    def move(self, parameter, group):
        parameter.mul_(1 - group["lr"] * self.config.decay)


def test_a_real_step_that_shrinks_though_no_stand_in_does_is_believed_and_said():
    model = small()
    optimizer = _Configured(model.parameters())
    optimizer.config.decay = 0.5
    seen = audit(model, optimizer, exact=True)
    assert seen["0.weight"].measured_shrink == pytest.approx(0.05, rel=1e-4)
    assert {"undeclared_shrink", "unlike_standin", "decayed_norm"} <= set(codes(seen))
    assert "0.05" in finding(seen, "unlike_standin").message
    assert "unlike_standin" not in codes(audit(model, torch.optim.AdamW(model.parameters()), exact=True))


def test_a_differentiable_optimiser_is_measured():
    model = small()
    seen = audit(model, torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1, differentiable=True))
    assert seen["0.weight"].penalty == "l2 by weight_decay"


def test_asgd_has_two_decays():
    model = small(torch.float64)
    seen = audit(model, torch.optim.ASGD(model.parameters(), lr=0.01, weight_decay=0.1, lambd=0.2))
    assert seen["0.weight"].penalty == "l2 by weight_decay + decay by lambd"
    assert seen["0.weight"].declared_shrink == pytest.approx(seen["0.weight"].measured_shrink, rel=1e-2)
    assert "undeclared_shrink" not in codes(seen)


@pytest.mark.parametrize("decay", [1, torch.tensor(0.01)], ids=["int", "tensor"])
def test_a_decay_that_is_no_float_is_told_as_one(decay):
    model = small()
    assert (
        audit(model, torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=decay))["0.weight"].penalty == "l2 by weight_decay"
    )


def test_the_form_is_told_of_each_optimiser_by_itself():
    model = small()
    optimizers = [make(model.parameters(), lr=0.01, weight_decay=0.1) for make in (torch.optim.AdamW, torch.optim.SGD)]
    assert audit(model, optimizers)["0.weight"].penalty == "decay by weight_decay + l2 by weight_decay"


class _SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation as it is mostly written: no step without a closure, and gradients set to None within."""

    def __init__(self, params, base, **options):
        super().__init__(params, options)
        self.base = base(self.param_groups, **options)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None
        self.zero_grad()
        torch.enable_grad()(closure)()
        self.base.step()


def test_an_optimiser_that_asks_for_a_closure_only_when_it_runs_gets_one():
    model = small()
    optimizer = _SAM(model.parameters(), torch.optim.AdamW, lr=0.1, weight_decay=0.1)
    seen = audit(model, optimizer, exact=True)
    assert seen["0.weight"].measured_on == "real step"
    assert seen["0.weight"].measured_shrink == pytest.approx(0.01, rel=1e-4)
    assert seen["0.weight"].penalty == "l2 or decay by weight_decay", "no stand-in says which"
    assert len(optimizer.base.state) == 0


def test_an_error_without_a_text_is_told_by_its_name():
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def fail(*_):
        raise AssertionError

    optimizer.register_step_pre_hook(fail)
    assert "the real step of SGD: it raised AssertionError()" in audit(model, optimizer, exact=True).not_checked


class _Master(_Own):
    """Keeps float32 copies of weights in bfloat16."""

    def __init__(self, params, lr=0.1, weight_decay=0.1):
        super().__init__(params, lr, weight_decay=weight_decay)
        self.copies = {p: p.detach().float() for group in self.param_groups for p in group["params"]}

    def move(self, parameter, group):
        parameter.copy_(self.copies[parameter].mul_(1 - group["lr"] * group["weight_decay"]))


class _Kahan(_Own):
    """Carries what rounding took to the next step."""

    def move(self, parameter, group):
        rest = self.state[parameter].setdefault("rest", torch.zeros_like(parameter))
        change = rest - parameter * group["lr"] * group["weight_decay"]
        before = parameter.clone()
        parameter.add_(change)
        rest.copy_(change - (parameter - before))


@pytest.mark.parametrize("make", [_Master, _Kahan])
@pytest.mark.parametrize("exact", [False, True])
def test_trap_5_what_rounding_takes_and_an_optimiser_keeps_is_not_lost(make, exact):
    model = small(torch.bfloat16)
    seen = audit(model, make(param_groups(model, 0.1), lr=1e-2), exact=exact)
    assert codes(seen) == []
    assert seen["0.weight"].shrinks
    if not exact:
        assert seen["0.weight"].measured_shrink == pytest.approx(1e-3, rel=1e-3)


def test_trap_5_float16_under_adamw_is_measured_though_its_eps_is_zero_there():
    model = small(torch.float16)
    seen = audit(model, torch.optim.AdamW(param_groups(model, 0.1), lr=3e-4))
    assert codes(seen) == ["decay_lost_to_rounding"]
    assert seen["0.weight"].measured_shrink == 0


def test_trap_5_a_warm_up_is_judged_by_the_learning_rate_that_it_leads_to():
    model = small()
    optimizer = torch.optim.AdamW(param_groups(model, 0.1), lr=1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 10**5)
    seen = audit(model, optimizer)
    assert (codes(seen), seen["0.weight"].measured_shrink) == ([], 0)
    model = small(torch.bfloat16)
    optimizer = torch.optim.AdamW(param_groups(model, 0.1), lr=1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 10)
    assert "decay of 0.0001 a step" in finding(audit(model, optimizer), "decay_lost_to_rounding").message


def test_trap_5_in_float32_nobody_is_told_to_use_float32():
    model = small()
    seen = audit(model, torch.optim.AdamW(param_groups(model, 0.1), lr=1e-7))
    assert "float32" not in finding(seen, "decay_lost_to_rounding").mend


def test_complex_parameters_are_listed():
    model = nn.Module()
    model.phase, model.size = nn.Parameter(torch.ones(3, dtype=torch.complex64)), nn.Parameter(torch.ones(3))
    seen = audit(model, torch.optim.AdamW(model.parameters()))
    assert any("complex" in reason and reason.endswith(": phase") for reason in seen.not_checked)


def test_what_is_not_proportional_is_sampled_from_the_whole_tensor_and_marked():
    model = nn.Embedding(64, 16)
    with torch.no_grad():
        model.weight.normal_(std=0.02, generator=torch.Generator().manual_seed(0))
        model.weight[:4] = 1e-4  # the rows of special tokens
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=0.1)
    seen, exactly = audit(model, optimizer), audit(model, optimizer, exact=True)
    assert seen["weight"].measured_shrink == pytest.approx(exactly["weight"].measured_shrink, rel=0.5)
    assert seen.lines[0].cells[-1].startswith("~")
    assert any("Adam removes of whole weights" in reason and "exact=True" in reason for reason in seen.not_checked)
    assert not exactly.lines[0].cells[-1].startswith("~")
    assert not any("of whole weights" in reason for reason in exactly.not_checked)


class _Trust(_Own):
    """Every step is as long as lr·‖w‖."""

    def move(self, parameter, group):
        step = parameter.grad + group["weight_decay"] * parameter
        parameter.sub_(group["lr"] * step * parameter.norm() / step.norm().clamp_min(1e-30))


class _Fixed(_Own):
    """Decays by weight_decay alone, whatever the learning rate is."""

    def move(self, parameter, group):
        parameter.mul_(1 - group["weight_decay"])


@pytest.mark.parametrize(("make", "times"), [(_Trust, "100 times"), (_Fixed, "10 times")])
def test_a_shrink_that_is_not_the_declared_one_is_found(make, times):
    model = small()
    seen = audit(model, make(param_groups(model, 0.01), lr=0.1))
    assert times in finding(seen, "shrinks_otherwise").message
    assert finding(seen, "shrinks_otherwise").names == ("0.weight", "3.weight")


class _Cautious(_Own):
    """Decays where the gradient and the weight agree in sign."""

    def move(self, parameter, group):
        parameter.sub_(group["lr"] * group["weight_decay"] * parameter * (parameter.grad * parameter > 0))


class _Seldom(_Own):
    """Decays at every tenth step."""

    def move(self, parameter, group):
        if self.n % 10 == 0:
            parameter.mul_(1 - 10 * group["lr"] * group["weight_decay"])


class _OnMatrices(_Own):
    """Declares a decay for all and shrinks matrices."""

    def move(self, parameter, group):
        if parameter.ndim > 1:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])


@pytest.mark.parametrize("make", [_Cautious, _Seldom])
def test_a_decay_that_acts_at_times_is_not_without_effect(make):
    model = small()
    seen = audit(model, make(param_groups(model, 0.1)))
    assert codes(seen) == ["decay_at_times"]
    assert not seen.warnings


def test_biases_and_norms_that_do_not_shrink_are_not_warned_of():
    model = small()
    seen = audit(model, _OnMatrices(model.parameters(), weight_decay=0.1))
    assert codes(seen) == ["decay_without_effect"]
    assert set(finding(seen, "decay_without_effect").names) == {"0.bias", "1.weight", "1.bias", "3.bias"}


def test_l2_sp_on_everything_is_no_shrinking_norm():
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Regularizer(l2_sp={"all": 0.01}).bind(model).attach(optimizer)
    assert codes(audit(model, optimizer)) == []


@pytest.mark.parametrize(("make", "kind"), [(torch.optim.SGD, "l2"), (torch.optim.AdamW, "decay")])
def test_a_hook_of_somebodys_own_is_found_beside_an_attached_penalty(make, kind):
    model = small()
    optimizer = make(model.parameters(), lr=0.1, weight_decay=0.0)
    Regularizer(l2=0.01).bind(model).attach(optimizer, form="decoupled")
    optimizer.register_step_post_hook(lambda *_: model[0].weight.data.mul_(0.99))
    seen = audit(model, optimizer, exact=True)
    assert seen["0.weight"].penalty == f"{kind} by hook + l2 by attach"
    assert seen["0.weight"].actions[0].lam == pytest.approx(0.1, rel=2e-3)
    assert finding(seen, "regularised_twice").names == ("0.weight",)
    assert seen["3.weight"].penalty == "l2 by attach"


class _Prox(_Own):
    """Decoupled, and the same amount of every weight."""

    def move(self, parameter, group):
        parameter.copy_(parameter.sign() * (parameter.abs() - group["lr"] * group["weight_decay"] - 1e-12).clamp_min(0))


def test_a_decay_that_is_no_gradient_and_not_proportional_is_not_called_l2():
    model = small()
    seen = audit(model, _Prox(model.parameters(), lr=1e-3, weight_decay=0.1))
    assert "decay_not_proportional" in codes(seen)
    assert "l2_is_not_decay" not in codes(seen)


@pytest.mark.parametrize("options", [{"weight_decay": float("nan")}, {"lr": float("inf"), "weight_decay": 0.1}])
def test_strengths_that_are_no_numbers_are_found_and_null_in_json(options):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), **{"lr": 0.1} | options)
    seen = audit(model, optimizer)
    assert len(finding(seen, "strength_not_finite").names) == 6
    document = json.loads(seen.to_json())
    assert document["parameters"][0]["declared_shrink"] is None
