"""Run `kcomp compare` and its measurements with forks of the long-lived processes, which have imported Keras."""

import contextlib
import sys
from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest
from click.testing import CliRunner

from kcomp.cli import main
from kcomp.compare import jobs
from kcomp.compare.parent import trained_runs
from kcomp.compare.parent.arithmetic import check_arithmetic
from kcomp.compare.parent.divergence import measure_divergence
from kcomp.compare.parent.tolerances import Probe, unit_of

PROBE = """
from kcomp.compare.worker import cost, probe
cost.SECONDS = 0.05
probe.main()
"""


def run_probe(command, env, check):
    """Run the command of a probe as a fork."""
    backend = env["KERAS_BACKEND"]
    env = {**env, **conftest.environment(backend)}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)  # a fork could not set it back, and the cost has no cache anyway
    done = conftest.run_process(backend, command[3:], code=PROBE, env=env)
    sys.stderr.write(done.stderr)
    return done


def run_kcomp(arguments, backend):
    done = conftest.kcomp(*arguments, backend=backend, cwd=Path.cwd(), check=False)
    sys.stderr.write(done.stderr)
    return done.returncode


@contextlib.contextmanager
def forks(folder):
    """Run probes and trainings as forks, in this folder."""
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(jobs, "subprocess", SimpleNamespace(run=run_probe))
        patch.setattr(trained_runs, "run_kcomp", run_kcomp)
        yield


def compare(folder, *arguments):
    """Run `kcomp compare ARGUMENTS` in a folder and return its output."""
    with forks(folder):
        result = CliRunner().invoke(main, ["compare", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def measure(recipe, *assignments, updates=2):
    """Return the checks of the arithmetic and of the first updates of a recipe, without its cost and scores."""
    folder, probes = recipe.parent, {}
    with forks(folder):
        for part, backend in (("setup", "jax"), *((p, b) for p in ("exact", "single") for b in ("torch", "jax"))):
            reference = backend == "torch"
            job = jobs.ProbeJob(
                part, backend, backend, str(recipe), assignments, 0, 0, updates, str(folder / "parts"), reference
            )
            assert jobs.run_process(job) == 0
            if part != "setup":
                probes[part, backend] = Probe(backend, backend, job.answer(), job.arrays())
    singles = [probes["single", "jax"], probes["single", "torch"]]
    checked = check_arithmetic(probes["exact", "torch"], [probes["exact", "jax"]], singles, unit_of("float32"))
    costs = {probe.label: {"digest": probe.answer["straight"]["digest"]} for probe in singles}
    return checked, measure_divergence(singles, costs)
