"""Where people train: groups, attached penalties and audits in the real Hugging Face Trainer and the real Lightning."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import shrinkwise as sw
from shrinkwise.regularization.rules import disagreements
from training_loops import (
    BATCH,
    LAM,
    LR,
    N_STEPS,
    ROWS,
    ForTrainer,
    Module,
    attached_to_sgd,
    by_lightning,
    by_trainer,
    make_lightning,
    make_loader,
    make_network,
    make_trainer,
    sgd,
    transformers,
    weights_of,
)

pytestmark = [
    # Lightning asks torch's pytree in a way that torch has deprecated since.
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    # Lightning would like more processes to load a hundred rows.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

LOOPS = {
    "plain": {},
    "accumulated": {"accumulate": 2},
    "clipped": {"clip": 0.05},
    "accumulated and clipped": {"accumulate": 2, "clip": 0.05},
}
every_loop = pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
every_library = pytest.mark.parametrize("train", [by_trainer, by_lightning], ids=["huggingface", "lightning"])


@every_library
@every_loop
def test_attached_l2_is_the_optimisers_own_weight_decay(tmp_path, train, loop):
    own = train(tmp_path, partial(sgd, weight_decay=LAM), **loop)
    torch.testing.assert_close(train(tmp_path, attached_to_sgd, **loop), own, rtol=1e-12, atol=1e-14)
    assert (own - train(tmp_path, sgd, **loop)).abs().max() > 1e-3


@every_library
def test_attached_at_strength_zero_is_the_plain_run_to_the_last_bit(tmp_path, train):
    assert torch.equal(train(tmp_path, partial(attached_to_sgd, l2=0.0, l1=0.0)), train(tmp_path, sgd))


@every_library
def test_param_groups_are_those_made_by_hand(tmp_path, train):
    def by_hand(model):
        matrices = [module.weight for module in model.net if isinstance(module, nn.Linear)]
        rest = [p for p in model.parameters() if all(p is not matrix for matrix in matrices)]
        return torch.optim.AdamW([{"params": matrices, "weight_decay": LAM}, {"params": rest, "weight_decay": 0.0}], lr=LR)

    groups = train(tmp_path, lambda model: torch.optim.AdamW(sw.param_groups(model, LAM), lr=LR))
    assert torch.equal(groups, train(tmp_path, by_hand))


PENALTIES = {"l2": {"l2": LAM}, "l2_sp and l1": {"l2_sp": 1.0, "l1": {"net.3": 0.05}}}


@every_library
@pytest.mark.parametrize("penalties", PENALTIES.values(), ids=PENALTIES)
def test_attached_penalties_are_the_textbooks_term_in_the_loss(tmp_path, train, penalties):
    attached = train(tmp_path, partial(attached_to_sgd, **penalties))
    in_loss = train(tmp_path, sgd, sw.Regularizer(**penalties))
    torch.testing.assert_close(attached, in_loss, rtol=1e-10, atol=1e-12)
    assert (attached - train(tmp_path, sgd)).abs().max() > 1e-3


@every_library
def test_trap_4_a_hook_acts_after_clipping_and_a_term_in_the_loss_before_it(tmp_path, train):
    attached = train(tmp_path, attached_to_sgd, clip=0.05)
    assert (attached - train(tmp_path, sgd, sw.Regularizer(l2=LAM), clip=0.05)).abs().max() > 1e-3


@every_library
def test_trap_4b_a_term_in_the_loss_counts_once_a_step_however_many_batches_are_accumulated(tmp_path, train):
    in_loss = train(tmp_path, sgd, sw.Regularizer(l2=LAM), accumulate=4)
    torch.testing.assert_close(train(tmp_path, attached_to_sgd, accumulate=4), in_loss, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("clip", [0.0, 0.05], ids=["plain", "clipped"])
@pytest.mark.parametrize("how", ["manual", "manual closure"])
def test_manual_optimisation_in_lightning_is_the_automatic_one(how, clip):
    module = Module(attached_to_sgd, how=how, clip=clip)
    make_lightning().fit(module, make_loader())
    torch.testing.assert_close(weights_of(module), by_lightning(None, attached_to_sgd, clip=clip), rtol=1e-12, atol=1e-14)


def test_trap_4_lightnings_closure_does_not_wipe_what_is_attached():
    """Lightning steps with a closure that zeroes gradients and runs backward: what a hook adds before it would be lost."""
    without, attached = by_lightning(None, sgd), by_lightning(None, attached_to_sgd)
    assert (attached - without).abs().max() > 1e-3


def test_lbfgs_in_lightning_minimises_the_loss_with_its_penalty():
    def lbfgs(module):
        return torch.optim.LBFGS(module.parameters(), max_iter=4, line_search_fn="strong_wolfe")

    def attached(module):
        optimizer = lbfgs(module)
        sw.Regularizer(l2=LAM).bind(module).attach(optimizer)
        return optimizer

    in_loss = by_lightning(None, lbfgs, sw.Regularizer(l2=LAM), max_steps=3)
    torch.testing.assert_close(by_lightning(None, attached, max_steps=3), in_loss, rtol=1e-8, atol=1e-10)


def _adamw(model):
    return torch.optim.AdamW(sw.param_groups(model, LAM), lr=LR)


def _attach_scheduled(model, optimizer):
    """Attach an L1 that fades, and a pull to the start that grows and follows the learning rate."""
    start = {f"net.{name}": tensor for name, tensor in make_network().state_dict().items()}
    schedule = {"l1": sw.schedules.Cosine(N_STEPS), "l2_sp": sw.schedules.WarmUp(N_STEPS) * sw.schedules.ProportionalToLr()}
    model.attached = sw.Regularizer(l1={"net.3": 0.05}, l2_sp=sw.L2SP(0.5, start), schedule=schedule).bind(model)
    model.attached.attach(optimizer)
    return optimizer


class _InCreateOptimizer(transformers.Trainer):
    """Attaches to an optimiser that is made when training begins: after a checkpoint's weights were loaded."""

    def create_optimizer(self, model=None):
        self.optimizer = _attach_scheduled(self.model, _adamw(self.model))
        return self.optimizer


class _OnTrainBegin(transformers.TrainerCallback):
    """Attaches when all is prepared: after a checkpoint's weights and the optimiser's state were loaded."""

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
        _attach_scheduled(model, optimizer)


def _given(model, folder, **loop):
    return make_trainer(model, folder, _attach_scheduled(model, _adamw(model)), **loop)


def _in_create_optimizer(model, folder, **loop):
    return make_trainer(model, folder, kind=_InCreateOptimizer, **loop)


def _in_a_callback(model, folder, **loop):
    trainer = make_trainer(model, folder, _adamw(model), **loop)
    trainer.add_callback(_OnTrainBegin)
    return trainer


@pytest.mark.parametrize("make", [_given, _in_create_optimizer, _in_a_callback])
def test_trap_8_a_resumed_trainer_goes_on_to_the_last_bit(tmp_path, make):
    loop = {"accumulate": 2, "clip": 0.5, "save_strategy": "steps", "save_steps": N_STEPS // 2}
    whole, resumed = (make(ForTrainer(), tmp_path, **loop) for _ in range(2))
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{N_STEPS // 2}"))
    assert torch.equal(weights_of(resumed.model), weights_of(whole.model))
    assert resumed.model.attached.values() == whole.model.attached.values()


def test_trap_8_a_resumed_lightning_module_goes_on_to_the_last_bit(tmp_path):
    def with_rates(module):
        optimizer = _attach_scheduled(module, _adamw(module))
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, N_STEPS)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}

    def fit(epochs, checkpoint=None):
        module, trainer = Module(with_rates), make_lightning(accumulate=2, clip=0.5, max_epochs=epochs)
        # Half the steps an epoch: Lightning resumes at the end of one.
        trainer.fit(module, DataLoader(ROWS[: N_STEPS * BATCH], batch_size=BATCH), ckpt_path=checkpoint)
        return module, trainer

    whole, _ = fit(2)
    fit(1)[1].save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = fit(2, tmp_path / "half.ckpt")
    assert torch.equal(weights_of(resumed), weights_of(whole))
    assert resumed.attached.values() == whole.attached.values()


def test_l2_sp_with_no_reference_stays_near_what_is_resumed_where_the_optimiser_is_made_late(tmp_path):
    """Lightning restores the weights before ``configure_optimizers``: bound there, the start is the checkpoint's, unless given."""

    def near_what_it_finds(module):
        optimizer = sgd(module)
        module.attached = sw.Regularizer(l2_sp=1.0).bind(module)
        module.attached.attach(optimizer)
        return optimizer

    half = make_lightning(max_steps=N_STEPS // 2)
    half.fit(Module(near_what_it_finds), make_loader())
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed = Module(near_what_it_finds)
    make_lightning(max_steps=N_STEPS // 2).fit(resumed, make_loader(), ckpt_path=tmp_path / "half.ckpt")
    assert resumed.attached.value() == 0


def test_attach_finds_torchs_optimiser_in_accelerates_and_lightnings(tmp_path):
    trainer = make_trainer(model := ForTrainer(), tmp_path, sgd(model))
    trainer.train()
    assert type(trainer.optimizer).__name__ == "AcceleratedOptimizer"
    module = Module(sgd)
    make_lightning().fit(module, make_loader())
    for wrapped, inner, owner in (
        (trainer.optimizer, trainer.optimizer.optimizer, model),
        (module.optimizers(), module.optimizers().optimizer, module),
    ):
        sw.Regularizer(l2=LAM).bind(owner).attach(wrapped)
        assert len(inner._optimizer_step_pre_hooks) == 1


def test_the_trainers_own_lr_and_weight_decay_have_no_say_where_an_optimiser_is_given(tmp_path):
    model = ForTrainer()
    trainer = make_trainer(model, tmp_path, sgd(model, LAM), learning_rate=7.0, weight_decay=7.0, lr_scheduler_type="constant")
    trainer.train()
    assert [(group["lr"], group["weight_decay"]) for group in trainer.optimizer.param_groups] == [(LR, LAM), (LR, 0.0)]


def test_the_defaults_are_those_that_the_documentation_states(tmp_path):
    arguments = transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    assert (arguments.weight_decay, arguments.max_grad_norm) == (0.0, 1.0)
    assert make_lightning().gradient_clip_val is None
    weight = [nn.Parameter(torch.ones(1))]
    decays = [make(weight).defaults["weight_decay"] for make in (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)]
    assert decays == [0.01, 0, 0]


def _tiny_gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2))


def _tiny_resnet():
    size = {"num_channels": 1, "embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic"}
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(**size))


class _Misled(nn.Module):
    """Names that say one thing to the Trainer and another to a reader."""

    def __init__(self):
        super().__init__()
        self.unbiased_head = nn.Linear(3, 2)
        self.bn1 = nn.BatchNorm1d(2)


@pytest.mark.parametrize("make", [_tiny_gpt2, _tiny_resnet, _Misled])
def test_the_huggingface_preset_makes_the_trainers_own_groups(tmp_path, make):
    model = make()
    groups = make_trainer(model, tmp_path, weight_decay=LAM).create_optimizer().param_groups
    ours = sw.param_groups(model, LAM, apply_to="huggingface")
    assert [group["weight_decay"] for group in groups] == [group["weight_decay"] for group in ours] == [LAM, 0.0]
    for theirs, group in zip(groups, ours, strict=True):
        assert {id(p) for p in theirs["params"]} == {id(p) for p in group["params"]}


def test_what_differs_from_the_trainers_default_is_said_in_both_directions():
    lines = [str(found) for found in disagreements(sw.place(_Misled()), "weights", "huggingface")]
    assert lines == [
        "unbiased_head.weight (weight of Linear): weights penalises it, huggingface does not",
        "bn1.weight (norm of BatchNorm1d): huggingface penalises it, weights does not",
    ]


def _decayed(audit):
    """Return what shrinks, and by how much a step."""
    return {p.name: pytest.approx(p.measured_shrink) for p in audit.parameters if p.measured_shrink}


@pytest.mark.parametrize("is_trained", [False, True], ids=["new", "trained"])
def test_an_audit_sees_what_shrinks_in_a_trainer(tmp_path, is_trained):
    model = ForTrainer()
    constant = {"weight_decay": LAM, "learning_rate": LR, "lr_scheduler_type": "constant"}
    ours = make_trainer(model, tmp_path, torch.optim.AdamW(sw.param_groups(model, LAM), lr=LR), **constant)
    theirs = make_trainer(copy.deepcopy(model), tmp_path, **constant)
    if is_trained:
        ours.train()
        theirs.train()
    # The Trainer's names find the norm only where it is called one; here it is number 2 of a Sequential, and found by its type.
    assert _decayed(sw.audit(ours)) == {"net.0.weight": LR * LAM, "net.3.weight": LR * LAM}
    assert _decayed(sw.audit(theirs)) == {"net.0.weight": LR * LAM, "net.3.weight": LR * LAM}
    assert (theirs.optimizer is None) is not is_trained


@pytest.mark.parametrize("is_trained", [False, True], ids=["new", "trained"])
def test_an_audit_sees_what_shrinks_in_a_lightning_module(is_trained):
    ours = Module(partial(sgd, weight_decay=LAM))
    theirs = Module(lambda module: torch.optim.SGD(module.parameters(), lr=LR, weight_decay=LAM))
    if is_trained:
        for module in (ours, theirs):
            make_lightning().fit(module, make_loader())
    assert _decayed(sw.audit(ours)) == {"net.0.weight": LR * LAM, "net.3.weight": LR * LAM}
    assert set(_decayed(sw.audit(theirs))) == {name for name, _ in theirs.named_parameters()}
