"""What a tuning says of layers: out of its budget, at its choice, and strengths by layer from the evidence."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

import shrinkwise as sw
from shrinkwise.errors import ModelError, SettingError, StoreError, TrainingError
from shrinkwise.experiments.data import cut
from shrinkwise.experiments.engine import NamedOptimizer, train_model, train_one
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, RunKey, Variant
from shrinkwise.experiments.selection.curvature import layer_strengths, look_at_layers, profile_of
from shrinkwise.experiments.tuning.layered import BY_LAYER, ONE, STRENGTHS
from shrinkwise.experiments.tuning.looking import afforded, look_at_choice, read_look
from shrinkwise.experiments.tuning.tuning import Tuning
from small import fingerprints, small_experiment
from training_functions import valley

NOISY = Condition(train_size=100, label_noise=0.3)
NOT_LOOKED = "Layers were not looked at"


@pytest.fixture(autouse=True)
def _needs_curvlinops():
    pytest.importorskip("curvlinops")


def experiment(**changes):
    optimizer = NamedOptimizer("sgd", lr=0.2)
    return small_experiment(**{"variants": (), "conditions": [NOISY], "epochs": 3, "optimizer": optimizer} | changes)


def tune(subject, **more):
    return sw.tune(subject, **{"seeds": 4, "jobs": 1, "progress": False} | more)


def notes_of(tuned):
    return " ".join(tuned.choice.notes)


@pytest.mark.parametrize("method", ["search", "sweep"])
def test_the_choice_is_looked_into_out_of_the_budget(method):
    subject = experiment(unit="sum")
    tuned = tune(subject, method=method, budget=16, around=0.05, low=0.01, layers=1)
    assert (tuned.layers_cost.trainings, tuned.layers_cost.seeds) == (1, 1)
    assert tuned.cost.trainings == len(tuned.records) <= 15
    assert tuned.layers_cost.sample_gradients == 3 * 100
    split = cut(subject.dataset, NOISY, 0)
    model, _ = train_model(subject.recipe, split, RunKey(tuned.variant, NOISY, 0))
    by_hand = layer_strengths(model, torch.from_numpy(split.x_train), torch.from_numpy(split.y_train), "classification")
    assert [layer.effective for layer in tuned.layers] == pytest.approx([layer.effective for layer in by_hand], rel=1e-4)
    # Loss + λ·Σw² is half as large a λ as the package's loss + (lam/2)·Σw².
    assert [layer.lam for layer in tuned.layers] == pytest.approx([layer.lam / 2 for layer in by_hand], rel=1e-4)
    assert {layer.chosen for layer in tuned.layers} == {None}
    assert len(tuned.sensitivities) == (2 if tuned.lam else 0)
    document = tuned.document()
    assert [layer["name"] for layer in document["layers"]] == ["layers.0.weight", "layers.1.weight"]
    assert document["layers_cost"]["trainings"] == 1


def test_two_networks_of_an_experiment_are_looked_at_unless_told_otherwise():
    tuning = Tuning(experiment(), seeds=4)
    assert (tuning.look.seeds, tuning.n_searched) == ((0, 1), 14)
    assert "At most 16 trainings of 4 seeds, 2 of them to look at the layers of the choice." in tuning.cost_words
    assert Tuning(experiment(), seeds=4, layers=0).look.seeds == ()
    assert Tuning(experiment(), seeds=1, budget=9).look.seeds == (0,)
    assert NOT_LOOKED not in notes_of(tune(experiment(epochs=1), layers=0, budget=8))


@pytest.mark.parametrize(
    ("method", "budget", "n"),
    [("search", 10, 2), ("search", 9, 0), ("sweep", 14, 2), ("sweep", 13, 0), ("evidence", 12, 2), ("evidence", 11, 0)],
)
def test_at_least_eight_trainings_and_a_whole_grid_are_left_to_choose_by(method, budget, n):
    tuning = Tuning(experiment(), seeds=4, method=method, budget=budget)
    assert len(tuning.look.seeds) == n
    assert tuning.n_searched == budget - n - len(tuning.subject.looked_at)
    assert ("too few to choose by" in tuning.look.note) is (n == 0)


def test_what_is_not_looked_at_is_said_and_trained_for_nothing():
    tuned = tune(experiment(epochs=1), budget=8)
    assert f"{NOT_LOOKED}: 2 networks for that would leave 6 of 8 trainings" in notes_of(tuned)
    assert (tuned.layers, tuned.sensitivities, tuned.layers_cost) == ((), (), None)
    assert tuned.cost.trainings <= 8


def test_a_function_shows_no_layers_and_is_told_so_only_if_asked():
    assert NOT_LOOKED not in notes_of(tune(valley))
    for more in ({"layers": 2}, {"verify": True}):
        tuned = tune(valley, **more)
        assert f"{NOT_LOOKED}: a training function shows no network." in tuned.choice.notes
        assert tuned.layers_cost is None


def test_without_curvlinops_the_extra_is_named_and_nothing_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    tuned = tune(experiment(epochs=1), budget=10)
    assert f"{NOT_LOOKED}: curvlinops is not installed; pip install 'shrinkwise[evidence]'." in tuned.choice.notes
    assert (tuned.layers, tuned.layers_cost) == ((), None)


def test_the_prior_trains_nothing_unless_layers_are_asked_for():
    decoupled = experiment(optimizer=NamedOptimizer("adamw", 0.01, decay="decoupled"))
    assert tune(decoupled, method="prior").layers_cost is None
    tuned = tune(decoupled, method="prior", layers=1)
    assert (tuned.cost.trainings, tuned.layers_cost.trainings, len(tuned.layers)) == (0, 1, 2)


class Sign(torch.autograd.Function):
    """An operation of somebody's own that can be trained through, and differentiated in no other way."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(Sign.apply(self.first(x)))


def test_a_network_that_cannot_be_looked_into_has_a_choice_all_the_same():
    tuned = tune(experiment(model=lambda variant: Own(), epochs=1), budget=10)
    assert f"{NOT_LOOKED}: Own raised RuntimeError" in notes_of(tuned)
    assert (tuned.layers, tuned.layers_cost.trainings) == ((), 1)
    with pytest.raises(ModelError, match="layers=0"):
        tune(experiment(model=lambda variant: Own(), epochs=1), method="evidence", budget=6)


def test_no_network_of_the_choice_that_ends_well_is_said():
    tuning = Tuning(experiment(epochs=1), seeds=2, budget=10)
    found = tuning.run(jobs=1, progress=False)
    diverging = replace(found, layers=(), choice=replace(found.choice, variant=Variant(l2=1e30), notes=()))
    again = look_at_choice(diverging, tuning.subject, tuning.look)
    assert "no network of the choice ended well" in notes_of(again)
    assert (again.layers, again.layers_cost.trainings) == ((), 2)


def test_clear_advice_is_put_to_the_test_on_the_same_seeds_and_on_top():
    subject = experiment(epochs=8)
    tuning = Tuning(subject, seeds=4, budget=11, layers=3, verify=True)
    assert "one more for each clear advice on a layer and seed" in tuning.cost_words
    found = tuning.run(jobs=1, progress=False)
    # As if 0.2, which is far too strong, had been chosen.
    tuned = look_at_choice(
        replace(found, choice=replace(found.choice, lam=0.2, variant=Variant(l2=0.2))), tuning.subject, tuning.look
    )
    clear = [layer for layer in tuned.sensitivities if layer.advice == "wants less"]
    assert clear
    assert tuned.verification_cost.trainings == 3 * len(clear)
    assert tuned.cost.trainings + tuned.layers_cost.trainings <= 11
    for layer in clear:
        changes = []
        for seed in range(3):
            split, key = cut(subject.dataset, NOISY, seed), RunKey(tuned.variant, NOISY, seed)
            even = {"layers.0.weight": 1.0, "layers.1.weight": 1.0}
            stepped = replace(subject.recipe, profile=even | {layer.name: 0.5})
            changes.append(train_one(stepped, split, key).last.val["loss"] - train_one(subject.recipe, split, key).last.val["loss"])
        assert (layer.verified.factor, layer.verified.n) == (0.5, 3)
        assert layer.verified.change == pytest.approx(sum(changes) / 3)
    assert "18 % of layers" in notes_of(tuned)
    (step, *_) = [layer["verified"] for layer in tuned.document()["sensitivities"] if layer["verified"]]
    assert step.keys() == {"factor", "change", "error", "n", "is_borne_out"}


def test_without_clear_advice_nothing_is_verified():
    tuned = tune(experiment(), low=0.01, around=0.01, budget=9, layers=1, verify=True)
    assert "there was no advice to verify" in notes_of(tuned)
    assert tuned.verification_cost is None
    assert all(layer.verified is None for layer in tuned.sensitivities)


def test_a_look_is_read_and_afforded_in_plain_words():
    assert read_look(None, [7, 8, 9], is_verified=False).seeds == (7, 8)
    with pytest.raises(SettingError, match="at most 3"):
        read_look(4, [7, 8, 9], is_verified=False)
    tuning = Tuning(experiment(), seeds=4)
    none = read_look(0, [7], is_verified=False)
    assert afforded(none, tuning.subject, tuning.space, "search", 3, 1) == none


# ---- strengths by layer


def test_the_evidence_gives_each_layer_its_strength_and_one_λ_for_all_is_searched_beside_it():
    subject = experiment(unit="sum")
    tuning = Tuning(subject, method="evidence", around=0.01, seeds=3, budget=13, layers=1)
    words = "At most 13 trainings of 3 seeds, 2 of them to take the evidence of, 1 of them to look at the layers of the choice."
    assert tuning.cost_words == words
    tuned = tuning.run(jobs=1, progress=False)
    assert tuned.cost.trainings == len(tuned.records) + 2 <= 12
    assert (tuned.choice.method, tuned.choice.name, tuned.choice.default) == ("evidence", "l2", 0.01)
    keys = [RunKey(Variant(l2=0.01), NOISY, seed) for seed in (0, 1)]
    own, _ = look_at_layers(subject.recipe, lambda seed: cut(subject.dataset, NOISY, seed), keys[0].variant, (0, 1))
    assert [layer.lam for layer in tuned.layers] == pytest.approx([layer.lam / 2 for layer in own])
    profile = profile_of(own, is_relative=True)
    by_layer = next(r for r in tuned.records if r.key.variant[STRENGTHS] == BY_LAYER and r.key.variant["l2"])
    alike = next(r for r in tuned.records if r.key.variant[STRENGTHS] == ONE)
    for record, recipe in ((by_layer, replace(subject.recipe, profile=profile)), (alike, subject.recipe)):
        key = replace(record.key, variant=Variant(l2=record.key.variant["l2"]))
        by_hand = train_one(recipe, cut(subject.dataset, NOISY, key.seed), key)
        assert replace(by_hand, key=record.key).fingerprint() == record.fingerprint()
    assert any(variant == Variant(l2=0.01, strengths=ONE) for variant, _ in tuned.choice.path[0].runs), "the default, at first"
    assert "strengths" in tuned.reason
    assert "The evidence is that of networks of seeds 0 and 1, trained with l2 = 0.01." in tuned.choice.notes


def prepared(around=None, low=None, high=None, **changes):
    tuning = Tuning(experiment(**changes), method="evidence", around=around, low=low, high=high, seeds=3, budget=13)
    return tuning, tuning.subject.layered(tuning.space)


def test_the_multiplier_s_range_holds_the_default_and_may_grow():
    tuning, space = prepared(around=0.001)
    lams = [layer.lam for layer in tuning.subject._layers]
    mean = math.exp(sum(map(math.log, lams)) / len(lams))
    assert space.low == pytest.approx(min(mean / 30, 0.001), rel=0.01)
    assert space.high == pytest.approx(3 * mean, rel=0.01)
    assert not space.is_fixed
    assert (space.default_variant, space.unit) == (Variant(l2=0.001, strengths=ONE), "half")
    _, wide = prepared(around=1e-6)
    assert wide.low == 1e-6
    _, given = prepared(around=0.01, low=1e-3, high=1.0)
    assert (given.low, given.high) == (1e-3, 1.0)
    _, given = prepared(around=1e-3, high=2e-3)
    assert given.low <= 2e-4


def test_strengths_by_layer_are_told_with_their_multiplier():
    tuning, space = prepared(around=0.01)
    subject = tuning.subject
    tuned = tuning.run(jobs=1, progress=False)
    lam = 0.5 * subject._mean
    choice = subject.finished(replace(tuned.choice, lam=lam, variant=space.variant(lam, strengths=BY_LAYER), notes=()))
    assert choice.notes[0].startswith("λ by layer = c × evidence, and c = 0.5, ")
    layers = subject.told((), choice)
    assert [layer.chosen for layer in layers] == pytest.approx([0.5 * layer.lam for layer in layers])
    # What a network trained so is penalised by is what is told.
    networks = subject.networks(choice.variant)
    assert networks.variant == Variant(l2=lam)
    assert {name: lam * by for name, by in networks.recipe.profile.items()} == pytest.approx({x.name: x.chosen for x in layers})
    at_choice = tuple(replace(layer, effective=1.5, lam=9.0) for layer in layers)
    assert {(layer.effective, layer.lam) for layer in subject.told(at_choice, choice)} == {(1.5, layer.lam) for layer in layers}
    assert all(layer.chosen is None for layer in subject.told((), replace(choice, variant=space.default_variant)))
    plain = subject.finished(replace(choice, variant=space.default_variant, notes=()))
    assert plain.notes[0].startswith("The choice is one l2 for all layers")
    assert subject.networks(space.default_variant).recipe.profile is None


def test_without_a_default_the_evidence_is_that_of_a_moderate_penalty_and_no_penalty_may_be_kept():
    tuning, space = prepared()
    assert tuning.subject.start == 0.001
    assert Tuning(experiment(unit="sum"), method="evidence").subject.start == 0.0005
    assert space.default_variant == Variant(l2=0, strengths=BY_LAYER)
    assert space.others == {}
    tuned = tuning.run(jobs=1, progress=False)
    assert "trained with l2 = 0.001, since without a penalty" in notes_of(tuned)
    zero = [r for r in tuned.records if not r.key.variant["l2"]]
    assert zero, "no penalty is the default, and among the first runs"
    plain = train_one(
        tuning.subject.experiment.recipe,
        cut(tuning.subject.experiment.dataset, NOISY, zero[0].key.seed),
        replace(zero[0].key, variant=Variant(l2=0)),
    )
    assert replace(plain, key=zero[0].key).fingerprint() == zero[0].fingerprint()


def test_a_decoupled_decay_takes_ratios_alone_and_is_looked_for_in_its_window():
    tuning, space = prepared(optimizer=NamedOptimizer("adamw", 0.01, decay="decoupled"))
    assert tuning.subject.start == tuning.prior.lam
    assert (space.low, space.high) == (tuning.space.low, tuning.space.high)
    choice = replace(tuning.prior, variant=space.variant(0.1), lam=0.1)
    assert tuning.subject.finished(choice).notes[1].startswith("λ by layer = l2 × its ratio by the evidence")


def test_the_folder_of_one_evidence_is_not_mixed_with_that_of_another(tmp_path):
    def again(**more):
        settings = {"method": "evidence", "around": 0.01, "seeds": 3, "budget": 6, "out": tmp_path}
        return tune(experiment(epochs=1, **more.pop("of", {})), **settings | more)

    def stop(n_done, n_all):
        if n_done == 2:
            raise KeyboardInterrupt

    whole = again(out=None)
    with pytest.raises(KeyboardInterrupt):
        again(progress=stop)
    resumed = again()
    assert fingerprints(resumed.records) == fingerprints(whole.records)
    assert (resumed.choice.lam, resumed.layers) == (whole.choice.lam, whole.layers)
    assert again(seeds=4, budget=7).layers == whole.layers, "further seeds change nothing of the evidence"
    for other, said in (
        ({"around": 0.02}, r"strengths evidence at 0\.02, seeds 0, 1, last weights against evidence at 0\.01, seeds 0, 1"),
        ({"seeds": [1, 2]}, r"evidence at 0\.01, seeds 1, 2, last weights against"),
        ({"of": {"select": "best-val"}}, "best-val weights"),
        ({"method": "search"}, r"strengths absent against evidence at 0\.01"),
    ):
        with pytest.raises(StoreError, match=said):
            again(**other)


def test_the_confirmation_of_strengths_by_layer_is_against_the_plain_default():
    _, space = prepared(around=0.3)
    tuned = tune(experiment(epochs=6), method="evidence", around=0.3, seeds=3, budget=13, confirm=2, layers=0)
    assert not tuned.choice.keeps_default, "0.3 is far too strong"
    base = tuned.confirmation.records[0]
    assert tuned.confirmation.base == space.default_variant == base.key.variant
    assert base.lam == 0.3


def test_progress_ends_at_its_end_though_a_kept_default_leaves_nothing_to_confirm():
    seen = []
    tuned = tune(experiment(), method="evidence", seeds=2, budget=8, confirm=2, progress=lambda *n: seen.append(n))
    assert tuned.choice.keeps_default
    assert seen[-1] == (len(tuned.records), len(tuned.records))


def test_mistakes_with_the_evidence_are_said():
    with pytest.raises(SettingError, match="the evidence takes 2 trainings, and a curve at least 3 more"):
        tune(experiment(), method="evidence", seeds=2, budget=4)

    def make_model(variant):
        variant["strengths"]
        return MLPFactory(64, (4,), 2)(variant)

    named = experiment(model=make_model, base={"l2": 0.0, "strengths": 1})
    with pytest.raises(SettingError, match="has a setting 'strengths'"):
        tune(named, method="evidence")
    with pytest.raises(TrainingError, match="no network ended well"):
        tune(experiment(), method="evidence", around=1e9)
