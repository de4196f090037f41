"""Count how many trainings survive kills at each write, kills at random times, and writes that fail.

    python scripts/faults.py --backend torch --kinds ema,snapshots,scaled --random 50

Each fault is one training, which is then continued by the same command and compared with a training without faults:
weights, optimizer, log, predictions and result, bit for bit. One line is printed for each fault that changed something,
and at the end a table.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import faults


def count_faults(trainings, options):
    """Yield the kind of each fault, and what differed after it."""
    for at in range(1, len(trainings.moments) + 1, options.every):
        yield "kill at a write", trainings.moments[at - 1], trainings.kill_at(at)
    draws = random.Random(0)
    for seconds in trainings.random_seconds(options.random, draws):
        yield "kill at a random time", f"{seconds:.2f} s", trainings.kill_after(seconds)
    for error in ("ENOSPC", "EIO"):
        for at in range(1, len(trainings.calls) + 1, options.errors) if options.errors else ():
            code, text, differences = trainings.fail_at(at, error)
            if code not in (0, 1) or "Traceback" in text:
                differences = [*differences, f"exit code {code}: {text[-300:]}"]
            yield error, trainings.calls[at - 1], differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--kinds", default=",".join(faults.KINDS))
    parser.add_argument("--every", type=int, default=1, help="try every n-th moment")
    parser.add_argument("--random", type=int, default=50, help="kills at random times, for each kind")
    parser.add_argument("--errors", type=int, default=8, help="let every n-th call fail; 0 for none")
    options = parser.parse_args()
    injected, lost = Counter(), Counter()
    for kind in options.kinds.split(","):
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        trainings = faults.Trainings(folder, options.backend, kind)
        print(f"{options.backend} {kind}: {len(trainings.moments)} moments, {trainings.seconds:.1f} s", flush=True)
        started = time.monotonic()
        for fault, place, differences in count_faults(trainings, options):
            injected[fault, kind] += 1
            lost[fault, kind] += bool(differences)
            if differences:
                print(f"LOST {kind}, {fault}, {place}: {differences[:3]}", flush=True)
        print(f"{sum(injected.values())} faults, {time.monotonic() - started:.0f} s", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    print("| backend | recipe | fault | injected | survived | lost |\n|---|---|---|---|---|---|")
    for (fault, kind), count in injected.items():
        missed = lost[fault, kind]
        print(f"| {options.backend} | {kind} | {fault} | {count} | {count - missed} | {missed} |")


if __name__ == "__main__":
    main()
