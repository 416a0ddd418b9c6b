"""Shrinkwise beside its peers: the same runs, in fresh processes that take turns, ratios within a round.

    python benchmarks/fleet/run.py [--sizes 784-128-5,conv] [--counts 8,32] [--peers jax,indexed] [--rounds 5]

A whole run takes many hours; parts of it can be asked for one after another. What has been timed is kept in `runs/fleet/`, and a
call goes on where the last one stopped; it is passed over once Shrinkwise or a peer has changed. Writes `results/fleet/`. Wants a
quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from environment import describe
from fleet.compare import compared
from fleet.contestants import OURS, PEERS, SINGLE, Contestant, contestants
from fleet.measure import CORES, FailedError, timed
from fleet.table import table
from fleet.workloads import COUNTS, SIZES, workload
from testbed import lines

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROWS = ROOT / "runs" / "fleet" / "rows.jsonl"
RESULTS = HERE.parent / "results" / "fleet"
HOPELESS = 1.5
"""A mode that took so many times as long as its peer's best one in an earlier round is not tried again."""

Key = tuple[str, int, int, str]


def main() -> None:
    """Time what is missing, and write the results of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(SIZES), help="of %(default)s")
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)), help="numbers of runs, of %(default)s")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of %(default)s; {OURS} is always there")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=3600, help="seconds after which a process is given up")
    given = parser.parse_args()
    sizes = _chosen(parser, given.sizes, SIZES)
    counts = [int(count) for count in _chosen(parser, given.counts, map(str, COUNTS))]
    peers = tuple(dict.fromkeys((OURS, *_chosen(parser, given.peers, PEERS))))
    for size in sizes:
        for n_runs in counts:
            play(size, n_runs, peers, given.rounds, given.limit)
            write(kept())


def play(size: str, n_runs: int, peers: tuple[str, ...], n_rounds: int, limit_s: float) -> None:
    """Time the contestants of a workload in turns, as far as they have not been; a failure is said and not kept."""
    work = workload(size, n_runs)
    field = contestants(work.size.kind, work.n_seeds, peers)
    for round_ in range(n_rounds):
        # Every other round goes backwards, so that nobody always follows the same neighbour.
        for contestant in field if round_ % 2 == 0 else field[::-1]:
            rows = kept()
            if (size, n_runs, round_, contestant.name) in rows or _is_hopeless(contestant, size, n_runs, rows):
                continue
            where = {"size": size, "n_runs": n_runs, "round": round_, "contestant": contestant.name}
            try:
                row = where | timed(contestant, size, n_runs, limit_s)
            except FailedError as error:
                print(f"{work.name}, round {round_}, {contestant.name}: failed, {error}", flush=True)
                continue
            lines.append(ROWS, [row], mark())
            print(f"{work.name}, round {round_}, {contestant.name}: {row['seconds']:.2f} s", flush=True)


def kept() -> dict[Key, dict[str, Any]]:
    """Return what has been timed of the code as it stands."""
    return {(row["size"], row["n_runs"], row["round"], row["contestant"]): row for row in lines.read(ROWS, mark())}


def mark() -> str:
    """Hash what a timing rests on."""
    files = ("workloads.py", "networks.py", "outcomes.py", "measure.py", "peers")
    wing = ROOT / "src" / "shrinkwise" / "experiments"
    ours = (wing / name for name in ("engine", "execution", "data", "models", "experiment.py"))
    return lines.fingerprint(*ours, wing.parent / "regularization", wing.parent / "seeding.py", *(HERE / file for file in files))


def write(rows: dict[Key, dict[str, Any]]) -> None:
    """Write table, rows and environment."""
    found = compared(rows.values())
    seconds = [{key: row[key] for key in ("size", "n_runs", "round", "contestant", "seconds")} for row in rows.values()]
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "keras")}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "table.md").write_text(table(found))
    (RESULTS / "rows.json").write_text(json.dumps({"compared": list(map(asdict, found)), "timed": seconds}, indent=1) + "\n")
    (RESULTS / "environment.json").write_text(json.dumps({**describe(), **versions, "cores_used": CORES}, indent=2) + "\n")


def _is_hopeless(contestant: Contestant, size: str, n_runs: int, rows: dict[Key, dict[str, Any]]) -> bool:
    if contestant.peer in (OURS, SINGLE):
        return False
    of_peer: dict[str, list[float]] = {}
    for (row_size, row_runs, _, name), row in rows.items():
        if (row_size, row_runs) == (size, n_runs) and name.split(":")[0] == contestant.peer:
            of_peer.setdefault(name, []).append(row["seconds"])
    return contestant.name in of_peer and min(of_peer[contestant.name]) > HOPELESS * min(map(min, of_peer.values()))


def _chosen(parser: argparse.ArgumentParser, given: str, known: Any) -> list[str]:
    known, names = list(known), given.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"{', '.join(unknown)}: not among {', '.join(known)}")
    return names


if __name__ == "__main__":
    main()
