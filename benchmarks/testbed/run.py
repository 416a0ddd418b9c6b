"""The whole test bed, one resumable command: trains what the table lacks, lets all methods play, and writes the results.

    python benchmarks/testbed/run.py [--peers PEERS/bin/python]

`--peers` names an interpreter with the packages of `requirements.txt`; without it the peers' answers are taken as they are.
Answers are made anew where what they rest on has changed: the search, a tool, the runs. Seconds of each stage are kept, summed over
all calls.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from rows import ROWS
from table import RESULTS, read, tasks

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def main() -> None:
    """Run the stages."""
    from environment import describe

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter that has the peers")
    given = parser.parse_args()
    stages = [("bank", sys.executable), ("ours", sys.executable), ("peers", given.peers), ("oracle", sys.executable)]
    stages += [("early_epochs", sys.executable), ("score", sys.executable)]
    log = ROWS / "seconds.json"
    seconds = json.loads(log.read_text()) if log.exists() else {}
    for stage, python in stages:
        if python is None:
            print("peers: not given, their answers stay as they are")
            continue
        started = time.perf_counter()
        subprocess.run([python, str(HERE / f"{stage}.py")], check=True)
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps(seconds))
        print(f"{stage}: {seconds[stage]:.0f} s in all", flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    # The table may have been filled by calls of bank.py that nobody timed: what its runs took is kept beside them.
    trained = sum(run.seconds for task in tasks() for run in read(task).values())
    said = {**describe(), "seconds": seconds, "seconds_of_training": round(trained)}
    (RESULTS / "environment.json").write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    main()
