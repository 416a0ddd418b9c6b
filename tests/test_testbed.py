"""The test bed's contest: what is spent is counted, what is answered is scored, and a table read is the table written."""

from __future__ import annotations

import importlib
import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shrinkwise.experiments.records import Condition, RunKey, Status, Variant
from shrinkwise.experiments.selection import Objective

FOLDER = Path(__file__).parents[1] / "benchmarks" / "testbed"
sys.path.insert(0, str(FOLDER))
try:
    early_epochs, lines, oracle, ours, peers, rows, score, table, tools, truth = (
        importlib.import_module(name)
        for name in ("early_epochs", "lines", "oracle", "ours", "peers", "rows", "score", "table", "tools", "truth")
    )
finally:
    sys.path.remove(str(FOLDER))

EPOCHS, ROWS = 9, 40
N_SEEDS = len(table.REPEAT_SEEDS)
BEST = table.snap(0.0133)


def run(lam: float, seed: int, *, epochs: int = EPOCHS, status: str = "done", collapsed: bool = False):
    """Return a run whose loss is least at BEST once it ends, and at no penalty as long as it is young."""
    distance = abs(math.log10(max(lam, 1e-7) / BEST))
    curve = tuple(5.0 + 0.1 * math.log10(max(lam, 1e-7)) for _ in range(epochs - 1))
    return table.Run(lam, seed, status, collapsed, (*curve, 1.0 + distance), 2.0 + distance + 0.01 * seed, ROWS, 0.5)


@pytest.fixture
def full_table():
    return {(lam, seed): run(lam, seed) for lam in table.LAMS for seed in (*table.ORACLE_SEEDS, *table.REPEAT_SEEDS)}


class Scripted:
    """A tool that tries given λs in turn and stops each trial after given epochs."""

    def __init__(self, trials):
        self.trials, self.told, self.ended = list(trials), [], []

    def suggest(self):
        self.lam, self.stops_at = self.trials.pop(0)
        return self.lam

    def goes_on(self, epoch, loss):
        self.told.append((epoch, loss))
        return epoch < self.stops_at

    def end(self, loss):
        self.ended.append((self.lam, loss))

    def best(self):
        return min((loss, lam) for lam, loss in self.ended if loss is not None)[1]


@given(st.floats(1e-8, 1e2))
def test_snapping_moves_a_lam_by_half_a_step_at_most_and_leaves_the_grid_alone(lam):
    snapped = table.snap(lam)
    assert abs(math.log10(snapped / lam)) <= table.STEP / 2 + 1e-5
    assert table.snap(snapped) == snapped


def test_the_grids_lams_are_their_own_nearest_and_the_oracles_are_seventeen_and_none():
    assert [table.snap(lam) for lam in table.LAMS] == list(table.LAMS)
    assert (len(table.ORACLE_LAMS), table.ORACLE_LAMS[0], table.ORACLE_LAMS[1], table.ORACLE_LAMS[-1]) == (18, 0.0, 1e-6, 1.0)


def test_windows_hold_each_seed_of_the_repeats_about_equally_often_and_start_apart():
    seeds = [seed for repeat in range(table.N_REPEATS) for seed in table.window(repeat)]
    assert {seeds.count(seed) for seed in table.REPEAT_SEEDS} <= {6, 7}
    assert len({table.window(repeat, 1) for repeat in range(table.N_REPEATS)}) == table.N_REPEATS


def test_seeds_of_tools_are_those_of_their_names_and_what_all_tools_take():
    seeds = {table.entropy("sonar", "tool", use, repeat) for use in peers.USES for repeat in range(200)}
    assert len(seeds) == 200 * len(peers.USES)
    assert all(isinstance(seed, int) and 0 <= seed < 2**31 for seed in seeds)
    assert max(seeds) > 2**30
    assert table.entropy("sonar", 1) == table.entropy("sonar", 1)


def test_half_a_line_of_a_killed_process_is_passed_over_and_spoils_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    kept, later = run(BEST, 3), run(BEST, 4)
    file = tmp_path / "sonar.jsonl"
    file.write_text(json.dumps(asdict(kept)) + "\n" + json.dumps(asdict(run(0.1, 3)))[:50])
    (found,) = table.read("sonar").values()
    assert (found.lam, found.seed, tuple(found.val_loss)) == (kept.lam, kept.seed, kept.val_loss)
    lines.append(file, [asdict(later)])
    assert [found.seed for found in table.read("sonar").values()] == [3, 4]


def test_a_row_is_read_under_its_own_mark_alone(tmp_path):
    file = tmp_path / "deep" / "rows.jsonl"
    lines.append(file, [{"a": 1}], mark="old")
    lines.append(file, [{"a": 2}, {"a": 3}], mark="new")
    assert lines.read(file, "new") == [{"a": 2}, {"a": 3}]
    assert lines.read(file, "other") == []
    assert len(lines.read(file)) == 3


def test_a_fingerprint_is_of_texts_files_and_folders(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "one.py").write_text("a = 1")
    (tmp_path / "notes.txt").write_text("said")
    first = lines.fingerprint("x", tmp_path)
    (tmp_path / "notes.txt").write_text("said again")
    assert lines.fingerprint("x", tmp_path) == first
    assert lines.fingerprint("y", tmp_path) != first
    (tmp_path / "inner" / "one.py").write_text("a = 2")
    assert lines.fingerprint("x", tmp_path) != first
    assert lines.fingerprint("ab", "c") != lines.fingerprint("a", "bc")


def test_a_contest_counts_what_stopped_trials_spent_and_answers_when_each_budget_is_spent(full_table):
    tool = Scripted([(1e-6, EPOCHS), (0.3, 2), (BEST, EPOCHS), (0.1, EPOCHS)])
    answers = peers.contest(full_table, tool, seeds=[8, 9], budgets=(1, 2, 3))
    assert answers == [(1, 1e-6, 9 * ROWS), (2, BEST, 20 * ROWS), (3, BEST, 29 * ROWS)]
    assert tool.ended[1] == (0.3, None)


def test_trials_take_seeds_in_turn(full_table):
    marked = {key: replace(r, val_loss=(float(r.seed),) * EPOCHS) for key, r in full_table.items()}
    tool = Scripted([(0.01, EPOCHS)] * 4)
    peers.contest(marked, tool, seeds=[8, 9, 10], budgets=(4,))
    assert [loss for _, loss in tool.ended] == [8, 9, 10, 8]


def test_a_trial_of_several_seeds_is_told_their_mean_and_pays_for_all_of_them(full_table):
    marked = {key: replace(r, val_loss=(float(r.seed),) * EPOCHS) for key, r in full_table.items()}
    tool = Scripted([(0.01, EPOCHS), (0.1, 2), (BEST, EPOCHS)])
    answers = peers.contest(marked, tool, seeds=[8, 9, 10, 13], budgets=(4, 8), at_once=4)
    assert tool.told[: EPOCHS + 2] == [(k, 10.0) for k in (*range(1, EPOCHS + 1), 1, 2)]
    assert tool.ended == [(0.01, 10.0), (0.1, None), (BEST, 10.0)]
    assert answers == [(4, table.snap(0.01), 4 * EPOCHS * ROWS), (8, table.snap(0.01), 4 * (2 * EPOCHS + 2) * ROWS)]


def test_a_trial_of_which_one_seed_diverged_is_the_worst_and_pays_for_what_was_trained(full_table):
    lam = table.snap(0.01)
    full_table[lam, 9] = run(lam, 9, epochs=4, status="diverged")
    tool = Scripted([(lam, EPOCHS), (BEST, EPOCHS)])
    answers = peers.contest(full_table, tool, seeds=[8, 9], budgets=(1, 3), at_once=2)
    assert [math.isinf(loss) for _, loss in tool.told[:EPOCHS]] == [False] * 4 + [True] * (EPOCHS - 4)
    assert tool.ended[0] == (lam, math.inf)
    assert answers[0][2] == (EPOCHS + 4) * ROWS


@pytest.fixture
def made_up(full_table, tmp_path, monkeypatch):
    """Return the seeds and epochs with which tools were made, for a task ``a`` whose runs lie in a scratch folder."""
    made = []

    def make(epochs, seed):
        made.append((epochs, seed))
        return Scripted([(1e-6, EPOCHS), (0.3, 2), (BEST, EPOCHS)] + [(0.1, EPOCHS)] * 40)

    monkeypatch.setattr(table, "FOLDER", tmp_path)
    monkeypatch.setattr(rows, "ROWS", tmp_path / "rows")
    monkeypatch.setattr(peers, "TOOLS", {"tool": {"plain": make, "other": make}})
    lines.append(table.file_of("a"), map(asdict, full_table.values()))
    return made


def test_peers_play_each_tool_in_each_setting_and_use_once(made_up):
    peers.play("a", 1)
    found = rows.read("peers", ["a"])
    expected = {(s, use, n) for s in ("plain", "other") for use, how in peers.USES.items() for n in how.budgets}
    assert {(row.setting, row.use, row.budget) for row in found} == expected
    assert len(found) == len(expected) == 16
    assert {row.lam for row in found if row.budget > 5} == {BEST}
    assert {row.sample_gradients for row in found if row.use == "mean of 4 seeds" and row.budget == 16} == {4 * 38 * ROWS}
    assert len(made_up) == 6
    assert all(epochs == EPOCHS and 0 <= seed < 2**31 for epochs, seed in made_up)
    assert len({seed for _, seed in made_up}) == len(peers.USES)
    peers.play("a", 1)
    assert len(made_up) == 6


def test_answers_that_rest_on_other_runs_are_not_read(made_up):
    peers.play("a", 1)
    lines.append(table.file_of("a"), [asdict(replace(run(BEST, 31), test_loss=0.0))])
    assert len(rows.read("peers", ["a"])) == 16
    lines.append(table.file_of("a"), [asdict(run(BEST, 31, epochs=EPOCHS - 1))])
    assert rows.read("peers", ["a"]) == []


def test_peers_do_not_play_on_a_table_with_gaps(made_up, tmp_path):
    file = table.file_of("a")
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(SystemExit, match="the table lacks 1 runs"):
        peers.play("a", 1)


def test_no_use_of_a_peer_sees_a_seed_outside_its_window():
    for repeat in range(table.N_REPEATS):
        assert all(set(table.window(repeat, how.n_seeds)) <= set(table.window(repeat)) for how in peers.USES.values())


def test_random_search_answers_the_best_end_it_saw(full_table):
    tool = tools.Random(EPOCHS, 5)
    ((_, lam, spent),) = peers.contest(full_table, tool, seeds=[8], budgets=(40,))
    assert spent == 40 * EPOCHS * ROWS
    assert abs(math.log10(lam / BEST)) < 1


def test_a_diverged_run_is_the_worst_and_a_collapsed_one_is_seen_as_such():
    key = RunKey(Variant(l2=0.01), Condition(), 3)
    good, bad, flat = (
        Objective().see(ours.record_of(key, r))
        for r in (run(BEST, 3), run(BEST, 3, status="diverged", epochs=4), run(BEST, 3, collapsed=True))
    )
    assert (good.loss, good.is_bad, good.n_gradients, good.seconds) == (1.0, False, EPOCHS * ROWS, 0.5)
    assert (bad.status, bad.is_bad, bad.n_gradients) == (Status.DIVERGED, True, 4 * ROWS)
    assert flat.is_collapsed
    assert ours.record_of(key, run(BEST, 3, status="diverged")).last is None
    assert run(BEST, 3, status="diverged").loss == math.inf


def test_the_truth_is_over_seeds_that_have_every_lam_and_nothing_is_lost_on_the_best(full_table):
    del full_table[table.LAMS[5], 9]
    known = truth.truth(full_table)
    assert set(known.seeds) == set(table.REPEAT_SEEDS) - {9}
    best = known.lams[known.best]
    assert best == BEST
    assert (known.excess(best), known.errors(best), known.paired_errors(best)) == (0.0, 0.0, 0.0)
    means = known.test.mean(axis=1)
    assert known.excess(1.0) == pytest.approx(100 * (means[-1] / means.min() - 1))


def test_standard_errors_are_those_of_a_mean_over_eight_seeds(full_table):
    known = truth.truth(full_table)
    lost = known.test[-1].mean() - known.test[known.best].mean()
    assert known.errors(1.0) == pytest.approx(lost / (np.std([0.01 * seed for seed in table.REPEAT_SEEDS], ddof=1) / np.sqrt(8)))


def test_paired_errors_leave_out_what_the_seeds_share(full_table):
    known = truth.truth(
        {key: replace(r, test_loss=r.test_loss + (r.lam == 1.0) * 0.1 * (r.seed % 2)) for key, r in full_table.items()}
    )
    lost = known.test[-1].mean() - known.test[known.best].mean()
    assert known.paired_errors(1.0) == pytest.approx(lost / (np.std([0.0, 0.1] * (N_SEEDS // 2), ddof=1) / np.sqrt(8)))


def test_a_truth_needs_two_complete_seeds(full_table):
    with pytest.raises(ValueError, match=r"run bank\.py to its end"):
        truth.truth({key: r for key, r in full_table.items() if key[1] == 8})
    known = truth.truth({key: r for key, r in full_table.items() if key[1] < 17})
    assert known.without(range(8, 15)).seeds == (15, 16)
    with pytest.raises(ValueError, match=r"1 complete seeds are left"):
        known.without(table.window(0))


def answers_of(method: str, setting: str, lam: float, task: str = "a"):
    return [rows.Row(task, method, setting, "one seed", 5, repeat, lam, 5 * EPOCHS * ROWS) for repeat in range(table.N_REPEATS)]


def test_a_peer_stands_in_its_better_setting_and_an_unfinished_one_stands_aside(full_table):
    truths = {"a": truth.truth(full_table)}
    given = answers_of("tool", "bad", 1.0) + answers_of("tool", "good", 0.001) + answers_of("tool", "unfinished", BEST)[:-1]
    (entry,) = score.entries(given, truths, {"a": EPOCHS * ROWS}, next(iter(score.UNITS)))[5]
    assert (entry.how, entry.spent) == ("one seed, good", 1.0)
    each = [truths["a"].without(table.window(repeat)).excess(0.001) for repeat in range(table.N_REPEATS)]
    assert entry.excess[0] == pytest.approx(each)


def test_an_answer_is_judged_on_seeds_that_had_no_part_in_it(full_table):
    lucky = set(table.window(0))
    worn = {key: replace(r, test_loss=0.1 if key[0] == 1.0 and key[1] in lucky else r.test_loss) for key, r in full_table.items()}
    (entry,) = score.entries(answers_of("tool", "", 1.0), {"a": truth.truth(worn)}, {"a": EPOCHS * ROWS}, next(iter(score.UNITS)))[
        5
    ]
    assert entry.excess[0, 0] == pytest.approx(truth.truth(full_table).without(lucky).excess(1.0))
    assert entry.excess[0, 10] < entry.excess[0, 0]


def test_the_ratio_is_to_the_best_peer_and_its_interval_holds_it():
    rng = table.generator("test ratio")
    excess = rng.exponential(size=(12, 20))
    half, same, worse = (score.Entry(name, "", factor * excess, 1.0) for name, factor in (("h", 0.5), ("s", 1.0), ("w", 3.0)))
    drawn = score.draws(excess.shape, 500, rng)
    assert score.ratio(half, [same, worse], drawn) == pytest.approx((0.5, 0.5, 0.5))
    other = score.Entry("o", "", rng.exponential(size=(12, 20)), 1.0)
    point, low, high = score.ratio(other, [same, worse], drawn)
    assert low < point < high
    assert high - low > 0.1


def test_draws_take_repeats_from_the_task_that_was_drawn():
    excess = np.repeat(np.arange(6.0)[:, None], 20, axis=1)
    drawn = excess[score.draws(excess.shape, 50, table.generator("test draws"))]
    assert drawn.shape == (50, 6, 20)
    assert (np.ptp(drawn, axis=2) == 0).all()
    assert np.ptp(drawn) == 5


@pytest.mark.parametrize(
    ("low", "high", "grid", "equals", "said"),
    [
        (0.001, 0.1, 0.01, [], "grid"),
        (0.001, 0.1, 1.0, [0.0316228, 1.0], "equal"),
        (0.001, 0.1, 1.0, [1.0], "no"),
        (0.0, 1e-5, 0.0, [], "grid"),
        (1e-6, 1e-5, 0.0, [0.0], "no"),
        (0.9, 1.24, 1.0, [], "grid"),
        (0.009, 0.1, 0.00865964, [], "no"),
    ],
)
def test_what_an_interval_holds(low, high, grid, equals, said):
    assert oracle.holding(low, high, grid, equals) == said


@pytest.mark.parametrize(("lam", "is_as_good"), [(BEST, True), (table.snap(0.01), False)])
def test_the_search_is_judged_by_the_error_of_the_difference_too(full_table, monkeypatch, lam, is_as_good):
    noise = table.generator("test oracle").normal(scale=[[3.0], [0.05]], size=(2, 8))
    noisy = {
        key: replace(r, test_loss=r.test_loss + noise[0, key[1]] + (key[0] == lam) * noise[1, key[1]])
        for key, r in full_table.items()
        if key[1] < 8
    }
    on_grid = min(table.ORACLE_LAMS, key=lambda each: noisy[each, 0].loss)
    choice = SimpleNamespace(lam=lam, low=0.0, high=1.0, cost=SimpleNamespace(trainings_per_seed=4.0), keeps_default=False)
    monkeypatch.setattr(oracle, "Bank", lambda task: SimpleNamespace(get=lambda each, seed: noisy[table.snap(each), seed]))
    monkeypatch.setattr(oracle, "chosen", lambda *_: choice)
    found = oracle.judge("a", 0)
    losses = np.array([[noisy[each, seed].test_loss for seed in range(8)] for each in (lam, on_grid)])
    error = np.std(losses[0] - losses[1], ddof=1) / math.sqrt(8)
    assert (found.grid_lam, found.is_as_good, found.is_as_good_paired) == (on_grid, True, is_as_good)
    assert found.paired_error == pytest.approx(error)
    more = losses[0].mean() - losses[1].mean()
    assert f"SE, {more / error if error else 0.0:+.1f} paired)" in oracle._row(found)


def test_picks_are_judged_on_other_seeds_where_the_table_has_them(full_table):
    task = early_epochs.Task.of("a", full_table)
    assert task.judges == early_epochs.JUDGES
    assert not set(task.judges) & set(table.ORACLE_SEEDS)
    assert task.test.mean() == pytest.approx(
        np.mean([full_table[lam, s].test_loss for lam in table.ORACLE_LAMS for s in task.judges])
    )
    del full_table[BEST, 20]
    assert early_epochs.Task.of("a", full_table).judges == table.ORACLE_SEEDS
    assert (task.judged, early_epochs.Task.of("a", full_table).judged) == ("8-23", "0-7 (those that chose)")


def test_halving_drops_what_wins_late_and_full_length_does_not(full_table):
    task = early_epochs.Task.of("a", full_table)
    at_end = table.ORACLE_LAMS[task.final]
    assert at_end == BEST
    assert task.rank(1) > 6
    assert early_epochs.halved(task.val.mean(axis=1), task.rungs) != task.final
    assert early_epochs.halved(task.val.mean(axis=1), [EPOCHS]) == task.final
    assert task.excess([task.final]) == 0
    assert task.rank(EPOCHS) == 1


def test_the_page_of_early_epochs_says_what_its_table_says():
    text = (FOLDER.parent / "results" / "testbed" / "early_epochs.md").read_text()
    page = (FOLDER.parents[1] / "docs" / "early_epochs.md").read_text()
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    tasks, means = cells[:-1], cells[-1]
    dropped = [row for row in tasks if int(row[2]) > 6]
    assert (len(tasks), len(dropped)) == (13, 8)
    assert "Thirteen tasks" in page
    assert "In eight of thirteen tasks" in page
    said = " ".join(page.split())
    costs = [float(row[8]) for row in dropped if float(row[8]) >= 1]
    assert (len(costs), sum(float(row[7]) > 0 for row in tasks)) == (6, 3)
    assert f"it loses {min(costs):.0f} to {max(costs):.0f} per cent" in said
    (conv,) = (row for row in tasks if row[0] == "mnist-conv")
    assert f"trainings fail, {float(conv[7]):.0f} per cent" in said
    assert float(conv[7]) > float(conv[8])
    assert {row[12] for row in tasks} == {"8-23"}
    assert f"up to {max(float(row[5]) for row in tasks):.0f} standard errors" in page
    assert f"{float(means[10]):.0f} against {float(means[9]):.0f} per cent" in page
    assert f"loses {float(means[11]):.0f} per cent on average and up to {max(float(row[11]) for row in tasks):.0f}" in said
