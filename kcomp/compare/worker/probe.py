"""Run one measurement of `kcomp compare`: `python -m kcomp.compare.worker.probe FILE`.

FILE describes the measurement: a ProbeJob of kcomp.compare.jobs as JSON.
"""

import time
from pathlib import Path
from typing import Any

import click

from kcomp.compare import jobs
from kcomp.compare.jobs import ProbeJob
from kcomp.system.backends import prepare_backend
from kcomp.system.errors import UsageError, readable_errors

REORDERINGS = 3
WEIGHTS, SHAKEN = "start.npz", "weights.npz"


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--debug", is_flag=True)
@readable_errors
def main(path: Path, debug: bool) -> None:
    started = time.time()
    job = jobs.read_job(path)
    prepare_backend(job.backend)
    from kcomp.system.files import write_json

    parts = {"setup": setup, "exact": exact, "single": single, "cost": lambda job: cost(job, started)}
    answer, arrays = parts[job.part](job)
    jobs.write_arrays(job.path, arrays)
    write_json(job.path.with_suffix(".json"), answer)


def setup(job: ProbeJob) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the recipe, and write the starting weights. Return two things: facts about the recipe, and an empty
    dict.
    """
    from kcomp.compare.worker import experiment
    from kcomp.training.manifest import device
    from kcomp.values import parse_values

    loaded = experiment.recipes.load(job.recipe)
    try:
        loaded = loaded.with_values(**parse_values(loaded.recipe.config, job.assignments))
    except ValueError as error:
        raise UsageError(error) from error
    built = experiment.build(loaded, job)
    for name, shaken in ((WEIGHTS, False), (SHAKEN, True)):
        experiment.save_weights(built.network, Path(job.folder) / name, shaken=shaken)
    table = loaded.recipe.table(loaded.recipe.config)
    labelled_for = [] if table.pseudo is None else sorted({int(fold) for fold in table.pseudo["fold"]})
    answer = {
        "name": loaded.name,
        "fingerprint": loaded.fingerprint(),
        "table": table.fingerprint(),
        "pseudo": {str(fold): table.pseudo_record(fold) for fold in labelled_for},
        "stage": built.stage.name,
        "precision": loaded.recipe.precision,
        "device": device(),
        "batch_size": built.session.training.batch_size,
    }
    return answer, {}


def exact(job: ProbeJob) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the layers in float64. Return two things: the content of the JSON file, and the arrays of the results."""
    from kcomp.compare.worker import experiment
    from kcomp.compare.worker import single as arithmetic

    with experiment.in_float64():
        built = experiment.build(experiment.load(job), job, weights=Path(job.folder) / SHAKEN)
        return arithmetic.exact(built, job)


def single(job: ProbeJob) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the layers in the recipe's precision, then the first updates of the training.

    The updates are repeated with other rounding. Return two things: the content of the JSON file, and the arrays of the
    results.
    """
    import keras
    import numpy as np

    from kcomp.compare.sketch import digest
    from kcomp.compare.worker import environment, experiment, optimizer, trajectory
    from kcomp.compare.worker import single as arithmetic

    loaded = experiment.load(job)
    built = experiment.build(loaded, job, weights=Path(job.folder) / SHAKEN)
    batches = built.batches(max(1, job.updates))
    answer, arrays = arithmetic.single(built, job, batches[0])
    experiment.load_weights(built.network, Path(job.folder) / WEIGHTS)
    answer["environment"] = environment.environment(loaded.recipe.precision)
    arrays["optimizer"] = optimizer.weights_after_updates(built)
    answer["condition"] = optimizer.condition(built.model.optimizer)
    answer["batches"] = digest([array for batch in batches for array in keras.tree.flatten(batch)])
    draws = np.random.default_rng(0)
    orders = {"straight": batches}
    for number in range(1, REORDERINGS + 1):
        orders[f"reordered {number}"] = [trajectory.reordered(batch, draws) for batch in batches]
    for name, ordered in orders.items():
        result = trajectory.record_updates(built, ordered, None if ordered is batches else draws, job.unit)
        arrays[f"trajectory/{name}"] = result.pop("sketches")
        answer[name] = result
    return answer, arrays


def cost(job: ProbeJob, started: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure speed and memory. Return two things: the content of the JSON file, and an empty dict."""
    from kcomp.compare.worker import cost, experiment

    built = experiment.build(experiment.load(job), job, weights=Path(job.folder) / WEIGHTS)
    return cost.measure(built, job.updates, started), {}


if __name__ == "__main__":
    main()
