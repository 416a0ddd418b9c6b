"""What can be audited: models and optimisers as frameworks hand them around, each with the real framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from shrinkwise.errors import SettingError
from shrinkwise.regularization.apply import Regularizer, count_steps, param_groups
from shrinkwise.regularization.audit import audit
from shrinkwise.regularization.audit.subject import Subject, optimizers_in, read_subject
from shrinkwise.regularization.dropout import Dropout, place_dropout
from shrinkwise.seeding import isolated_rng


def small():
    with isolated_rng("subjects"):
        return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), lr=0.1, **options)


def test_a_tuple_may_hold_several_optimisers():
    model = small()
    first, second = sgd(model[0]), sgd(model[2])
    assert read_subject((model, first, second)) == read_subject((model, [first, second])) == Subject(model, (first, second))
    assert read_subject((model,)) == read_subject(model) == Subject(model, ())


def _shapes():
    model = small()
    first, second = sgd(model[0]), sgd(model[2])
    scheduler = torch.optim.lr_scheduler.StepLR(first, 3)
    both, one = (first, second), (first,)
    return {
        "one": (first, one),
        "a list": ([first, second], both),
        "two lists": (([first, second], [scheduler]), both),
        "two lists, schedulers as dicts": (([first], [{"scheduler": scheduler, "interval": "step"}]), one),
        "a dict": ({"optimizer": first, "lr_scheduler": {"scheduler": scheduler, "monitor": "loss"}}, one),
        "several dicts": (({"optimizer": first}, {"optimizer": second, "lr_scheduler": scheduler}), both),
        "none": (None, ()),
    }


SHAPES = _shapes()


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_that_lightning_documents_is_read(name):
    given, expected = SHAPES[name]
    assert optimizers_in(given) == expected


class TestLightning:
    @pytest.fixture
    def module(self):
        lightning = pytest.importorskip("lightning")

        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = small()

            def training_step(self, batch, batch_index):
                x, y = batch
                penalty = 0.05 * sum(p.square().sum() for p in self.net.parameters() if p.ndim > 1)
                return nn.functional.cross_entropy(self.net(x), y) + penalty

            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=0.01, weight_decay=0.1)
                return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 3)]

        return Module()

    def test_its_own_optimisers_are_made_and_its_training_step_is_a_loss(self, module):
        batch = (torch.ones(4, 6), torch.tensor([0, 1, 2, 0]))
        seen = audit(module, inputs=batch, loss=lambda model, batch: model.training_step(batch, 0))
        assert seen.optimizers == ("AdamW",)
        assert seen["net.0.weight"].penalty == "decay by weight_decay + l2 by loss"
        assert "regularised_twice" in [warning.code for warning in seen.warnings]

    def test_the_optimisers_of_a_running_trainer_are_taken(self, module):
        class Trainer:
            optimizers = [sgd(module, weight_decay=0.3)]  # noqa: RUF012

        module._trainer = Trainer()
        assert audit(module)["net.0.weight"].lam == 0.3

    def test_its_wrapped_optimiser_is_looked_through(self, module):
        from lightning.pytorch.core.optimizer import LightningOptimizer

        optimizer = sgd(module)
        assert read_subject(module, LightningOptimizer(optimizer)).optimizers == (optimizer,)

    def test_one_that_cannot_be_made_is_said_with_its_own_error(self, module):
        module.configure_optimizers = lambda: 1 / 0
        with pytest.raises(SettingError, match=r"configure_optimizers of Module raised ZeroDivisionError \(division by zero\)"):
            audit(module)


class TestHuggingFace:
    @pytest.fixture
    def trainer(self, tmp_path):
        transformers = pytest.importorskip("transformers")
        with isolated_rng("gpt2"):
            config = transformers.GPT2Config(
                n_layer=2, n_embd=16, n_head=2, vocab_size=32, n_positions=8, bos_token_id=0, eos_token_id=0
            )
            model = transformers.GPT2LMHeadModel(config)
        arguments = transformers.TrainingArguments(tmp_path, weight_decay=0.1, learning_rate=1e-3, use_cpu=True, report_to=[])
        return transformers.Trainer(model, arguments)

    def test_a_trainer_is_audited_and_left_without_an_optimiser(self, trainer):
        seen = audit(trainer)
        assert trainer.optimizer is None
        assert seen.model == "GPT2LMHeadModel"
        assert seen["transformer.h.1.mlp.c_fc.weight"].measured_shrink == pytest.approx(1e-4, rel=1e-2)
        assert seen["transformer.h.1.ln_1.weight"].measured_shrink == 0
        assert seen["lm_head.weight"].aliases == ("lm_head.weight",)
        assert [finding.code for finding in seen.findings] == ["decayed_embedding"]

    def test_the_optimiser_that_it_has_is_taken(self, trainer):
        trainer.optimizer = sgd(trainer.model)
        assert audit(trainer).optimizers == ("SGD",)
        assert trainer.optimizer is not None


def test_an_accelerated_optimiser_is_looked_through():
    accelerate = pytest.importorskip("accelerate")
    model = small()
    optimizer = sgd(model)
    wrapped = accelerate.Accelerator(cpu=True).prepare_optimizer(optimizer)
    assert wrapped is not optimizer
    assert read_subject(model, wrapped).optimizers == (optimizer,)


ATTACHED_FORMS = ["coupled", "decoupled"]


@pytest.mark.parametrize("form", ATTACHED_FORMS)
def test_an_attached_penalty_is_told_by_its_kind_and_measured_by_the_real_step(form):
    model = small()
    optimizer = sgd(model)
    Regularizer(l2=0.3).bind(model).attach(optimizer, form=form)
    seen = audit(model, optimizer, exact=True)
    assert seen["0.weight"].penalty == "l2 by attach"
    assert seen["0.weight"].lam == 0.3
    assert seen["0.weight"].measured_shrink == pytest.approx(0.03, rel=1e-5)
    assert seen["0.bias"].penalty is None
    assert seen.warnings == ()


@pytest.mark.parametrize("form", ATTACHED_FORMS)
def test_an_attached_penalty_is_measured_on_stand_ins(form):
    model = small()
    optimizer = sgd(model)
    Regularizer(l2=0.3).bind(model).attach(optimizer, form=form)
    seen = audit(model, optimizer)
    assert seen["0.weight"].measured_on == "stand-in"
    assert seen["0.weight"].measured_shrink == pytest.approx(0.03, rel=1e-5)
    assert not any("step hook" in reason for reason in seen.not_checked)


def test_weight_decay_and_an_attached_l2_that_came_before_it_are_found():
    model = small()
    optimizer = sgd(model)
    Regularizer(l2=0.3).bind(model).attach(optimizer)
    optimizer.param_groups[0]["weight_decay"] = 0.1
    (warning,) = (warning for warning in audit(model, optimizer).warnings if warning.code == "regularised_twice")
    assert "l2 by weight_decay + l2 by attach" in warning.message


def test_an_attached_penalty_that_needs_whole_weights_is_listed_and_measured_by_the_real_step():
    model = small()
    optimizer = sgd(model)
    Regularizer(group_lasso=0.01).bind(model).attach(optimizer)
    seen = audit(model, optimizer)
    assert seen["0.weight"].penalty == "group_lasso by attach"
    assert any("group_lasso" in reason and "exact=True" in reason for reason in seen.not_checked)
    seen = audit(model, optimizer, exact=True)
    assert seen["0.weight"].measured_shrink > 0
    assert not any("group_lasso" in reason for reason in seen.not_checked)


def test_counting_steps_is_no_hook_to_worry_about():
    model = nn.Sequential(nn.Linear(2, 2), Dropout(0.5))
    place_dropout(model, seed=0)
    optimizer = sgd(model)
    count_steps(model, optimizer)
    seen = audit(model, optimizer)
    assert model[1].step == 1
    assert not any("hook" in reason for reason in seen.not_checked)


def test_the_unknown_is_learned_from_inputs_where_they_are_given():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Parameter(torch.ones(6, 3))

        def forward(self, x):
            return x @ self.mix

    model = Scaled()
    assert audit(model)["mix"].role == "unknown"
    assert audit(model, inputs=torch.ones(2, 6))["mix"].role == "weight"


def test_ddp_like_wrapping_changes_no_name():
    model = small()
    seen = audit(nn.DataParallel(model), torch.optim.AdamW(param_groups(model, 0.1)))
    assert [parameter.name for parameter in seen.parameters][:2] == ["0.weight", "0.bias"]


def test_a_sharded_model_is_audited_and_left_sharded(tmp_path):
    """FSDP2 on one gloo process; what its forward pass puts in place is taken out again."""
    code = f"""
import gloo, torch, torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from shrinkwise.regularization.audit import audit
dist.init_process_group("gloo", init_method="file://{tmp_path}/meet", rank=0, world_size=1)
model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
x = torch.randn(3, 4)
def step():
    model(x).square().mean().backward()
    optimizer.step()
step()
before = {{name: value.to_local().clone() for name, value in model.state_dict().items()}}
for exact in (False, True):
    seen = audit(model, optimizer, inputs=x, loss=lambda model, x: model(x).square().mean(), exact=exact)
    assert abs(seen["0.weight"].measured_shrink - 0.01) < 1e-6, seen
    assert any("audit before sharding" in reason for reason in seen.not_checked)
assert all(torch.equal(before[name], value.to_local()) for name, value in model.state_dict().items())
step()
gloo.leave()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
