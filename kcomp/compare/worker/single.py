"""Run the layers of a network in float64 and in the recipe's precision, and return their results."""

from pathlib import Path
from typing import Any

import numpy as np

from kcomp.compare.jobs import ProbeJob, write_arrays
from kcomp.compare.sketch import sketch, sketch_labels
from kcomp.compare.worker import arithmetic
from kcomp.compare.worker.arithmetic import Arrays, Canonical, WholeStep
from kcomp.compare.worker.experiment import ProbeStage
from kcomp.compare.worker.graph import Graph, graph_of
from kcomp.data.batches import Batch
from kcomp.fast.install import patched

CANONICAL = "canonical"  # the name of the file that has the inputs of every layer


@patched(False)
def exact(experiment: ProbeStage, job: ProbeJob) -> tuple[dict[str, Any], Arrays]:
    """Run each layer alone in float64, with Keras's own layers. Return two things: facts for the report, and the
    results.

    The reference process also runs the whole training step, and stores the inputs of every layer. It then repeats all
    computations with simulated rounding.
    """
    graph, [batch] = graph_of(experiment.network), experiment.batches(1)
    mixed = arithmetic.mixed(experiment, batch, graph)
    arrays: Arrays = {}
    if job.reference:
        draws = np.random.default_rng(0)

        def moved(array: np.ndarray) -> np.ndarray:
            return array * (1 + job.unit * draws.uniform(-1, 1, array.shape))

        step = WholeStep(experiment, graph, as_single(mixed["images"]), as_single(mixed["labels"]))
        first = step.run()
        write_arrays(Path(job.folder) / CANONICAL, canonical_arrays(first, mixed))
        offsets = {slot: moved(first["tensors"][slot]) - first["tensors"][slot] for slot in step.zeros}
        factors = [moved(np.ones(weight.shape)) for weight in step.weights]
        arrays |= prefixed("step/", arithmetic.step_sketches(first, graph))
        arrays |= prefixed("moved-step/", arithmetic.step_sketches(step.run(offsets, factors), graph))
        arrays |= prefixed("moved-alone/", arithmetic.run_layers_alone(graph, canonical(job), moved))
    reference = canonical(job)
    arrays |= prefixed("alone/", arithmetic.run_layers_alone(graph, reference)) | mixing_signals(mixed, reference)
    return description(experiment, graph, reference), arrays


def single(experiment: ProbeStage, job: ProbeJob, batch: Batch) -> tuple[dict[str, Any], Arrays]:
    """Run the whole training step, and each layer alone, in the recipe's precision with kcomp's fast layers.

    Return two things: facts for the report, and the results.
    """
    graph, reference = graph_of(experiment.network), canonical(job)
    mixed = arithmetic.mixed(experiment, batch, graph)
    step = WholeStep(experiment, graph, reference.tensors[0], reference.labels).run()
    arrays = prefixed("alone/", arithmetic.run_layers_alone(graph, reference))
    arrays |= prefixed("step/", arithmetic.step_sketches(step, graph)) | mixing_signals(mixed, reference)
    return description(experiment, graph, reference), arrays


def canonical(job: ProbeJob) -> Canonical:
    with np.load((Path(job.folder) / CANONICAL).with_suffix(".npz")) as file:
        return Canonical({name: file[name] for name in file.files})


def canonical_arrays(step: dict[str, Any], mixed: Arrays) -> Arrays:
    arrays = {f"tensor/{slot}": as_single(value) for slot, value in step["tensors"].items()}
    arrays |= {f"gradient/{slot}": as_single(value) for slot, value in step["gradients"].items()}
    return arrays | {"labels": as_single(mixed["labels"])}


def mixing_signals(mixed: Arrays, reference: Canonical) -> Arrays:
    rows = len(reference.labels)
    return {"mixing/0": sketch(mixed["images"][:rows]), "mixing/1": sketch_labels(mixed["labels"][:rows])}


def as_single(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float32)


def prefixed(prefix: str, arrays: Arrays) -> Arrays:
    return {prefix + name: value for name, value in arrays.items()}


def description(experiment: ProbeStage, graph: Graph, reference: Canonical) -> dict[str, Any]:
    """Return a dict of facts for the report: names, settings and shapes of layers, and properties of the training."""
    owners = {id(weight): n for n, call in enumerate(graph.calls) for weight in call.trainable}
    weights = experiment.network.trainable_variables
    return {
        "calls": [
            {
                "name": call.name,
                "kind": call.kind,
                "config": settings(call.operation),
                "shapes": [graph.shapes[slot] for slot in call.outputs],
                "precision": getattr(call.operation, "compute_dtype", None),
            }
            for call in graph.calls
        ],
        "weights": [{"path": weight.path, "call": owners.get(id(weight))} for weight in weights],
        "rows": len(reference.labels),
        "silenced": experiment.silenced,
        "train_batch_norm": experiment.stage.train_batch_norm,
        "starting_weights": experiment.digests,
    }


def settings(operation: Any) -> dict[str, str]:
    """Return a layer's configuration as texts, without its name and precision. Empty if the layer has no
    configuration.
    """
    try:
        config = operation.get_config()
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return {}
    return {name: str(value) for name, value in config.items() if name not in ("name", "dtype", "trainable")}
