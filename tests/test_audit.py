"""The audit on stand-ins: what is declared, what is measured, and what is warned of."""

from __future__ import annotations

import copy
import re
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.apply import decay_decoupled, param_groups
from shrinkwise.regularization.audit import audit
from shrinkwise.seeding import isolated_rng

strengths = st.floats(1e-4, 0.5)


def small(dtype=torch.float32):
    with isolated_rng("audit"):
        return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)


def codes(seen):
    return [finding.code for finding in seen.findings]


def finding(seen, code):
    (found,) = (finding for finding in seen.findings if finding.code == code)
    return found


@given(lr=strengths, decay=strengths, momentum=st.sampled_from([0.0, 0.9]))
def test_under_sgd_the_measured_shrink_is_the_declared_one(lr, decay, momentum):
    model = small(torch.float64)
    seen = audit(model, torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=decay))
    for parameter in seen.parameters:
        assert parameter.declared_shrink == lr * decay
        assert parameter.measured_shrink == pytest.approx(lr * decay, rel=1e-9)
        assert (parameter.penalty, parameter.lam) == ("l2 by weight_decay", decay)


@given(lr=strengths, decay=strengths, fused=st.booleans(), maximize=st.booleans())
def test_under_adamw_the_measured_shrink_is_the_declared_one(lr, decay, fused, maximize):
    model = small(torch.float64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay, fused=fused, maximize=maximize)
    for parameter in audit(model, optimizer).parameters:
        assert parameter.measured_shrink == pytest.approx(parameter.declared_shrink, rel=1e-9)
        assert parameter.penalty == "decay by weight_decay"


OTHERS = {
    "adam": (torch.optim.Adam, {}, "l2", False),
    "adam with a tensor as lr": (torch.optim.Adam, {"lr": torch.tensor(0.01)}, "l2", False),
    "adam, decoupled": (torch.optim.Adam, {"decoupled_weight_decay": True}, "decay", True),
    "fused adam": (torch.optim.Adam, {"fused": True}, "l2", False),
    "fused adamw": (torch.optim.AdamW, {"fused": True}, "decay", True),
    "adamw, foreach": (torch.optim.AdamW, {"foreach": True}, "decay", True),
    "nadam": (torch.optim.NAdam, {}, "l2", False),
    "nadam, decoupled": (torch.optim.NAdam, {"decoupled_weight_decay": True}, "decay", True),
    "radam": (torch.optim.RAdam, {"decoupled_weight_decay": True}, "decay", True),
    "rmsprop": (torch.optim.RMSprop, {}, "l2", False),
    "adagrad": (torch.optim.Adagrad, {}, "l2", False),
    "adafactor": (torch.optim.Adafactor, {}, "decay", True),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "maximize": True}, "l2", True),
}


@pytest.mark.parametrize("case", OTHERS)
def test_trap_10_what_a_kernel_does_is_probed_and_not_read_off_its_name(case):
    make, options, kind, is_decay = OTHERS[case]
    model = small()
    seen = audit(model, make(model.parameters(), **{"lr": 0.01, "weight_decay": 0.1} | options))
    assert {parameter.penalty for parameter in seen.parameters} == {f"{kind} by weight_decay"}
    assert ("l2_is_not_decay" in codes(seen)) == (not is_decay)
    assert all(parameter.is_proportional == is_decay for parameter in seen.parameters)


class _Impostor(torch.optim.Adam):
    """Named after Adam, and decays like AdamW."""

    def __init__(self, params, lr, weight_decay):
        super().__init__(params, lr=lr, weight_decay=weight_decay, decoupled_weight_decay=True)


def test_trap_10_an_adam_that_is_adamw_inside_is_found_out():
    model = small()
    seen = audit(model, _Impostor(model.parameters(), lr=0.01, weight_decay=0.1))
    assert seen["0.weight"].penalty == "decay by weight_decay"
    assert seen["0.weight"].measured_shrink == pytest.approx(1e-3, rel=1e-3)


def test_muon_is_measured_on_matrices_beside_adamw_for_the_rest():
    model = small()
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    optimizers = [torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1), torch.optim.AdamW(rest, lr=1e-3, weight_decay=0.0)]
    seen = audit(model, optimizers)
    assert seen.optimizers == ("Muon", "AdamW")
    assert seen["0.weight"].measured_shrink == pytest.approx(0.002, rel=1e-3)
    assert seen["0.bias"].measured_shrink == seen["0.bias"].declared_shrink == 0
    assert seen["0.bias"].penalty is None
    assert seen.warnings == ()


def test_lbfgs_gets_a_closure():
    model = small()
    seen = audit(model, torch.optim.LBFGS(model.parameters()))
    assert all(parameter.measured_shrink == 0 for parameter in seen.parameters)
    assert not any("LBFGS" in reason for reason in seen.not_checked)


def test_groups_of_our_own_give_no_warning():
    model = small()
    seen = audit(model, torch.optim.AdamW(param_groups(model, weight_decay=0.05), lr=1e-3))
    assert seen.findings == ()
    assert {p.name for p in seen.parameters if p.is_regularised} == {"0.weight", "3.weight"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decay_decoupled_is_told_and_measured(dtype):
    model = small(dtype)
    optimizer = torch.optim.Adam(param_groups(model, weight_decay=0.2), lr=0.01)
    decay_decoupled(optimizer)
    seen = audit(model, optimizer)
    assert seen["0.weight"].penalty == "decay by decoupled_decay"
    assert seen["0.weight"].declared_shrink == pytest.approx(0.002)
    assert seen["0.weight"].measured_shrink == pytest.approx(0.002, rel=1e-4)
    assert seen.findings == ()


def test_a_decayed_norm_and_bias_are_warned_of_with_the_mend():
    model = small()
    seen = audit(model, torch.optim.AdamW(model.parameters()))
    assert [warning.code for warning in seen.warnings] == ["decayed_norm", "decayed_bias"]
    assert finding(seen, "decayed_norm").names == ("1.weight", "1.bias")
    assert "sw.param_groups(model, weight_decay=0.01)" in finding(seen, "decayed_bias").mend


def test_a_decayed_embedding_is_a_note():
    model = nn.Embedding(5, 3)
    seen = audit(model, torch.optim.AdamW(model.parameters()))
    assert (seen.warnings, [note.code for note in seen.notes]) == ((), ["decayed_embedding"])


@pytest.mark.parametrize(("dtype", "lr", "is_lost"), [("bfloat16", 1e-3, True), ("float32", 1e-3, False), ("float32", 1e-7, True)])
@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_trap_5_decay_that_rounds_to_nothing_is_found(make, dtype, lr, is_lost):
    model = small(getattr(torch, dtype))
    seen = audit(model, make(param_groups(model, weight_decay=0.1), lr=lr))
    assert (codes(seen) == ["decay_lost_to_rounding"]) == is_lost
    if is_lost:
        warning = finding(seen, "decay_lost_to_rounding")
        assert warning.names == ("0.weight", "3.weight")
        assert f"in {dtype}" in warning.message
        assert seen["0.weight"].measured_shrink == 0
        assert seen["0.weight"].declared_shrink == pytest.approx(lr * 0.1)


def test_trap_5_our_own_decoupled_decay_in_bf16_is_lost_too():
    model = small(torch.bfloat16)
    optimizer = torch.optim.SGD(param_groups(model, weight_decay=0.1), lr=1e-3)
    decay_decoupled(optimizer)
    assert codes(audit(model, optimizer)) == ["decay_lost_to_rounding"]


def test_trap_6_a_frozen_parameter_has_no_gradient_and_does_not_shrink():
    model = small()
    model[0].weight.requires_grad_(False)
    seen = audit(model, torch.optim.AdamW(model.parameters(), weight_decay=0.1))
    assert seen["0.weight"].is_frozen
    assert (seen["0.weight"].measured_shrink, seen["0.weight"].penalty) == (0, None)
    assert seen["3.weight"].measured_shrink == pytest.approx(1e-4, rel=1e-2)
    assert "frozen_shrinks" not in codes(seen)


def test_trap_6_a_frozen_parameter_with_an_old_gradient_shrinks():
    model = small()
    model[0].weight.requires_grad_(False).grad = torch.zeros(8, 6)
    seen = audit(model, torch.optim.AdamW([{"params": [model[0].weight], "weight_decay": 0.1}]))
    assert finding(seen, "frozen_shrinks").names == ("0.weight",)
    assert seen["0.weight"].measured_shrink == pytest.approx(1e-4, rel=1e-2)


def test_trap_6_a_padding_row_that_holds_something_shrinks():
    model = nn.Embedding(5, 3, padding_idx=1)
    optimizer = torch.optim.AdamW(model.parameters())
    assert "frozen_shrinks" not in codes(audit(model, optimizer)), "a row of zeros has nothing to lose"
    with torch.no_grad():
        model.weight[1] = 1.0
    assert "row 1 (padding_idx) of weight" in finding(audit(model, optimizer), "frozen_shrinks").message
    assert "frozen_shrinks" not in codes(audit(model, torch.optim.AdamW(model.parameters(), weight_decay=0.0)))


class _OwnDecay(torch.optim.Optimizer):
    """Decays by an entry of its own name, or reads none at all."""

    def __init__(self, params, lr, **entries):
        super().__init__(params, {"lr": lr, **entries})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group.get("shrinkage", 0.0))


def test_a_decay_that_nothing_declares_is_found():
    model = small()
    seen = audit(model, _OwnDecay(model.parameters(), lr=0.1, shrinkage=0.2))
    assert len(finding(seen, "undeclared_shrink").names) == 6
    assert seen["0.weight"].measured_shrink == pytest.approx(0.02, rel=1e-5)
    assert seen["0.weight"].declared_shrink == 0


def test_a_declared_decay_that_the_optimiser_does_not_read_is_found():
    model = small()
    seen = audit(model, _OwnDecay(model.parameters(), lr=0.1, weight_decay=0.2))
    assert len(finding(seen, "decay_without_effect").names) == 6


class _NeedsMore(torch.optim.SGD):
    """Its constructor asks for what no group remembers."""

    def __init__(self, params, *, plan, inner=None):
        super().__init__(params, lr=0.1, weight_decay=plan["decay"])
        self.plan, self.inner = plan, inner


def test_an_optimiser_with_a_constructor_of_its_own_is_copied():
    model = small()
    optimizer = _NeedsMore(model.parameters(), plan={"decay": 0.2})
    assert audit(model, optimizer)["0.weight"].measured_shrink == pytest.approx(0.02, rel=1e-5)


def test_an_optimiser_that_holds_another_is_not_copied_since_its_step_would_be_real():
    model = small()
    before = copy.deepcopy(model.state_dict())
    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = audit(model, _NeedsMore(model.parameters(), plan={"decay": 0.2}, inner=inner))
    assert seen["0.weight"].measured_shrink is None
    assert seen["0.weight"].declared_shrink == pytest.approx(0.02)
    assert any("what _NeedsMore does" in reason and "exact=True" in reason for reason in seen.not_checked)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_somebodys_step_hooks_are_not_run_on_stand_ins_and_are_listed():
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ran = []
    optimizer.register_step_pre_hook(lambda *_: ran.append("pre"))
    optimizer.register_step_post_hook(lambda *_: ran.append("post"))
    handle = register_optimizer_step_pre_hook(lambda *_: ran.append("every"))
    seen = audit(model, optimizer)
    handle.remove()
    assert ran == []
    assert "2 step hooks of SGD: exact=True runs them" in seen.not_checked


class _Hook:
    """A step hook that shrinks, and can be put onto stand-ins."""

    def __init__(self, parameters):
        self.parameters = parameters

    @torch.no_grad()
    def __call__(self, optimizer, args, kwargs):
        for parameter in self.parameters:
            parameter.mul_(0.9)

    def on_standins(self, standins):
        return _Hook([standins[id(p)] for p in self.parameters])


def test_trap_7_weight_decay_and_a_step_hook_regularise_twice():
    model = small()
    optimizer = torch.optim.AdamW(param_groups(model, 0.1), lr=0.01)
    optimizer.register_step_pre_hook(_Hook([model[0].weight]))
    seen = audit(model, optimizer)
    assert seen["0.weight"].penalty == "decay by weight_decay + decay by hook"
    assert seen["0.weight"].measured_shrink == pytest.approx(1 - 0.9 * 0.999, rel=1e-3)
    assert finding(seen, "regularised_twice").names == ("0.weight",)
    assert not any("hook" in reason for reason in seen.not_checked)


def test_parameters_in_no_group_and_in_two_optimisers_are_found():
    model = small()
    seen = audit(
        model, [torch.optim.SGD([model[0].weight], lr=0.1, weight_decay=0.1), torch.optim.SGD(model[0].parameters(), lr=0.1)]
    )
    assert finding(seen, "held_twice").message.startswith("held by SGD 1[0] and SGD 2[0]")
    assert finding(seen, "in_no_group").names == ("1.weight", "1.bias", "3.weight", "3.bias")
    assert seen["3.weight"].groups == ()


def test_tied_values_in_two_parameters_are_found():
    model = nn.ModuleDict({"embedding": nn.Embedding(7, 4), "head": nn.Linear(4, 7, bias=False)})
    model.head.weight.data = model.embedding.weight.data
    optimizer = torch.optim.AdamW([{"params": [model.embedding.weight], "weight_decay": 0.0}, {"params": [model.head.weight]}])
    assert finding(audit(model, optimizer), "tied_apart").names == ("embedding.weight", "head.weight")
    model.head.weight = model.embedding.weight
    seen = audit(model, torch.optim.AdamW(model.parameters()))
    assert "tied_apart" not in codes(seen)
    assert seen["head.weight"].aliases == ("head.weight",)


def test_parameters_of_another_model_are_stale():
    model, other = small(), small()
    optimizer = torch.optim.SGD([{"params": model.parameters()}, {"params": other[0].parameters()}], lr=0.1)
    assert finding(audit(model, optimizer), "stale_parameters").message == "SGD[1] holds 2 parameters that are none of the model's"


def test_parameters_of_unknown_kind_are_a_warning_where_they_shrink_and_a_note_where_not():
    model = nn.ParameterList([torch.ones(2, 3)])
    for decay, is_note in ((0.1, False), (0.0, True)):
        found = finding(audit(model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=decay)), "unknown_kind")
        assert found.is_note == is_note


def test_a_learning_rate_of_zero_still_tells_the_form_and_says_that_nothing_shrinks_now():
    model = small()
    optimizer = torch.optim.AdamW(param_groups(model, 0.1), lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    seen = audit(model, optimizer)
    assert codes(seen) == ["lr_is_zero"]
    assert seen["0.weight"].measured_shrink == 0
    assert seen["0.weight"].penalty == "decay by weight_decay"


def test_without_an_optimiser_roles_are_told_and_the_rest_is_listed_as_not_checked():
    seen = audit(small())
    assert [parameter.role for parameter in seen.parameters] == ["weight", "bias", "norm", "norm", "weight", "bias"]
    assert seen["0.weight"].declared_shrink is seen["0.weight"].measured_shrink is None
    assert seen.findings == ()
    assert [reason.partition(":")[0] for reason in seen.not_checked] == [
        "what shrinks",
        "penalties in the loss",
        "scale-invariant weights",
    ]


def test_weights_next_to_zero_are_measured_at_a_typical_size():
    model = small(torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e-200)
    seen = audit(model, torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1))
    assert seen["0.weight"].measured_shrink == pytest.approx(0.01)


def test_an_audit_leaves_model_optimiser_and_generators_as_they_were():
    model = small()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), [p.grad for p in model.parameters()]))
    rng = torch.get_rng_state()
    audit(model, optimizer)
    after = (model.state_dict(), optimizer.state_dict(), [p.grad for p in model.parameters()])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert torch.equal(rng, torch.get_rng_state())


class _Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3, sparse=True)


def test_sparse_gradients_are_given_to_who_needs_them():
    model = _Sparse()
    seen = audit(model, torch.optim.SparseAdam(model.parameters()))
    assert seen["embedding.weight"].measured_shrink == 0
    assert audit(model, torch.optim.SparseAdam(model.parameters()), exact=True)["embedding.weight"].measured_shrink == 0
    seen = audit(model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1))
    assert any("what SGD does" in reason and "sparse" in reason for reason in seen.not_checked)


MISTAKES = {
    "no model": (lambda: audit(3), ModelError, "got int"),
    "no optimiser": (lambda: audit(small(), "adam"), SettingError, "the optimiser is a str"),
    "another model's optimiser": (
        lambda: audit(small(), torch.optim.SGD(small().parameters(), lr=0.1)),
        SettingError,
        "holds none of the model's parameters",
    ),
    "two optimisers for one": (
        lambda: audit((small(), torch.optim.SGD(small().parameters())), torch.optim.SGD(small().parameters())),
        SettingError,
        "given twice",
    ),
    "a lazy module": (lambda: audit(nn.LazyLinear(3)), SettingError, "weight has no shape yet"),
    "a name that is none": (lambda: audit(small())["0.wieght"], SettingError, "'0.wieght' is no parameter of this Sequential"),
    "a fold's name": (
        lambda: audit(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))["[0,1].weight"],
        SettingError,
        "Write one of the 2 names that are folded there, such as '0.weight'",
    ),
    "inputs for the meta device": (
        lambda: audit(nn.Linear(2, 2, device="meta"), inputs=torch.ones(1, 2)),
        SettingError,
        "weight has no values",
    ),
    "a depth below zero": (lambda: audit(small(), depth=-1), SettingError, "depth is -1"),
    "a depth that is no number": (lambda: audit(small(), depth="all"), SettingError, "depth is 'all'"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_a_mistake_gives_one_message_with_the_mend(name):
    call, kind, message = MISTAKES[name]
    with pytest.raises(kind, match=re.escape(message)) as caught:
        call()
    assert caught.value.mend


COST = """
import resource, sys, time, torch
from torch import nn
from shrinkwise.regularization.audit import audit

def model():
    width = 1024
    layers = [nn.TransformerEncoderLayer(width, 16, 4 * width, batch_first=True) for _ in range(25)]
    return nn.ModuleDict({"embedding": nn.Embedding(32000, width), "layers": nn.ModuleList(layers)})

if sys.argv[1] == "meta":
    with torch.device("meta"):
        net = model()
else:
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("meta"):
        net = model()
    net = net.to_empty(device="cpu")
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(0.02)
assert 3.3e8 < sum(p.numel() for p in net.parameters()) < 3.7e8
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
tiny = nn.Linear(2, 2)
audit(tiny, torch.optim.AdamW(tiny.parameters()))
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
seen = audit(net, optimizer)
seconds, kib = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(seconds, kib / 1024, len(seen.parameters), sum(p.measured_shrink is not None for p in seen.parameters))
"""


@pytest.mark.parametrize("where", ["meta", pytest.param("bf16", marks=pytest.mark.slow)])
def test_350_million_parameters_cost_under_two_seconds_and_50_mb(where):
    done = subprocess.run([sys.executable, "-c", COST, where], capture_output=True, text=True, check=True)
    seconds, mib, n, n_measured = map(float, done.stdout.split())
    assert n == n_measured > 300
    assert seconds < 2
    assert mib < 50
