"""Measure PyTorch's speed under OpenMP's active and passive wait policy, while other processes keep the cores busy.

    python scripts/measure_wait_policy.py --busy 2

Threads that finish early spin by default until the others finish. While they spin, they keep the other programs' and
their own late threads from running. The passive policy lets them sleep.
"""

import argparse
import os
import statistics
import subprocess
import sys

SPIN = "while True: pass"
WORK = """
import time, torch
layer = torch.nn.Conv2d(32, 32, 3, padding=1)
images = torch.randn(8, 32, 56, 56)
def step():
    layer(images).square().mean().backward()
step()
started = time.perf_counter()
for _ in range(60):
    step()
print(60 / (time.perf_counter() - started))
"""


def steps_a_second(policy: str | None, threads: int) -> float:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME"):
        environment.pop(name, None)
    if policy is not None:
        environment |= {"OMP_WAIT_POLICY": policy}
    done = subprocess.run([sys.executable, "-c", WORK], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=2, help="processes that keep a core busy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(options.busy)]
    try:
        speeds: dict[str, list[float]] = {"default": [], "passive": []}
        for _ in range(options.rounds):
            speeds["default"].append(steps_a_second(None, options.threads))
            speeds["passive"].append(steps_a_second("passive", options.threads))
    finally:
        for process in others:
            process.kill()
    for name, values in speeds.items():
        middle, spread = statistics.median(values), f"{min(values):.1f} to {max(values):.1f}"
        print(f"{name}: {middle:.1f} steps a second (median of {len(values)}, {spread})")


if __name__ == "__main__":
    main()
