"""Run one training step in two ways: all layers together, and each layer alone on stored inputs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kcomp.compare.sketch import sketch
from kcomp.compare.worker.experiment import ProbeStage, as_array
from kcomp.compare.worker.graph import Call, Graph
from kcomp.compare.worker.pullback import Function, pull_back
from kcomp.data.batches import Batch
from kcomp.training.mixed import apply_plans

Arrays = dict[str, np.ndarray]
BUDGET = 256 * 2**20  # most bytes of the stored tensors, forward and backward together


def mixed(experiment: ProbeStage, batch: Batch, graph: Graph) -> Arrays:
    """Return `images` and `labels` of a batch as arrays, after mixing (such as MixUp) in a training step.

    Only the first rows are returned: as many as fit into `BUDGET` bytes with all tensors of the network.
    """
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, batch)
    inputs |= {name: keras.ops.cast(inputs[name], keras.config.floatx()) for name in ("images", "labels")}
    outputs = apply_plans(experiment.model.planned, inputs)
    rows = int(max(2, min(len(batch["images"]), BUDGET // (2 * graph.float32_bytes_per_image()))))
    return {name: as_array(outputs[name])[:rows] for name in ("images", "labels")}


class Canonical:
    """The inputs of every layer, as the reference process computed them in float64.

    Attributes:
        labels: The labels of the batch after mixing.
        tensors: Every tensor of the forward pass, by its number in the graph.
        gradients: The gradient of the loss with respect to each tensor, by the same number.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.labels = arrays["labels"]
        self.tensors = {int(name[7:]): value for name, value in arrays.items() if name.startswith("tensor/")}
        self.gradients = {int(name[9:]): value for name, value in arrays.items() if name.startswith("gradient/")}


class WholeStep:
    """A forward and a backward pass through all layers.

    Args:
        experiment: The network with its loss.
        graph: The layers of the network.
        images: The images of a batch, after mixing.
        labels: The labels of the batch, after mixing.
    """

    def __init__(self, experiment: ProbeStage, graph: Graph, images: np.ndarray, labels: np.ndarray) -> None:
        self.experiment, self.graph, self.rows = experiment, graph, len(images)
        self.images = tensor(images, graph.dtypes[graph.source])
        self.labels = keras.ops.convert_to_tensor(labels.astype(keras.config.floatx()))
        self.weights = list(experiment.network.trainable_variables)
        self.zeros = {
            str(slot): np.zeros((self.rows, *shape), np.float32)
            for slot, shape in graph.shapes.items()
            if graph.floats(slot)
        }

    def function(self, arguments: dict[str, Any]) -> tuple[list[Any], Any]:
        offsets, graph = arguments["offsets"], self.graph

        def moved(slot: int, value: Any) -> Any:
            return value + offsets[str(slot)] if str(slot) in offsets else value

        values = {graph.source: moved(graph.source, self.images)}
        with keras.StatelessScope(list(zip(self.weights, arguments["weights"], strict=True))) as scope:
            for call in graph.calls:
                for slot, value in zip(call.outputs, call.run(values), strict=True):
                    values[slot] = moved(slot, value)
            predictions = {"logits": values[graph.result], "labels": self.labels}
            loss = self.experiment.model.compute_loss(None, None, predictions)
            states = {str(n): states_of(scope, call) for n, call in enumerate(graph.calls)}
        return [loss], {"tensors": {str(slot): value for slot, value in values.items()}, "states": states, "loss": loss}

    def run(self, offsets: Arrays | None = None, factors: list[np.ndarray] | None = None) -> dict[str, Any]:
        """Return the results of both passes as a dict.

        `tensors` and `gradients` are dicts by the tensor's number. `weights` has the gradients of the trained weights.
        `states` has the new statistics of each layer call, such as the moving means of batch normalisation.

        Args:
            offsets: {number of a tensor: array to add to it}. None adds nothing.
            factors: Arrays by which the trained weights are multiplied. None keeps the weights.
        """
        weights = [weight.value for weight in self.weights]
        if factors is not None:
            weights = [value * tensor(factor, dtype_of(value)) for value, factor in zip(weights, factors, strict=True)]
        moves = {slot: tensor(v, self.graph.dtypes[int(slot)]) for slot, v in (offsets or self.zeros).items()}
        cotangent = keras.ops.ones((), keras.config.floatx())
        [(_, gradients, results)] = pull_back([self.function], [{"offsets": moves, "weights": weights}], [[cotangent]])
        return {
            "tensors": arrays_of(results["tensors"]),
            "gradients": arrays_of(gradients["offsets"]),
            "weights": [as_array(value) for value in gradients["weights"]],
            "states": {n: [as_array(value) for value in state] for n, state in results["states"].items()},
            "loss": as_array(results["loss"]),
        }


def run_layers_alone(
    graph: Graph, reference: Canonical, shake: Callable[[np.ndarray], np.ndarray] | None = None
) -> Arrays:
    """Run each layer on the stored inputs. Return {name: sketch of the result}. A sketch is a shortened array.

    <call> is the number of a layer call, and <k> counts its results of one kind. The names are

    - out/<call>/<k> for outputs
    - state/<call>/<k> for new statistics, such as those of batch normalisation
    - in/<call>/<k> for gradients with respect to inputs
    - weight/<call>/<k> for gradients with respect to weights

    Args:
        graph: The layers of the network.
        reference: The stored inputs, and the stored gradients of outputs.
        shake: Function that changes inputs, weights and gradients of outputs by about the rounding error, or None.
    """
    move = shake or (lambda array: array)
    jobs = [(n, call) for n, call in enumerate(graph.calls) if comparable(graph, call, reference)]
    functions = [local_function(call) for _, call in jobs]
    arguments, cotangents = [], []
    for _, call in jobs:
        weights = [tensor(move(as_array(w.value)), dtype_of(w.value)) for w in call.trainable]
        inputs = [tensor(move(reference.tensors[slot]), graph.dtypes[slot]) for slot in call.inputs]
        arguments.append({"inputs": inputs, "weights": weights})
        cotangents.append([tensor(move(reference.gradients[slot]), graph.dtypes[slot]) for slot in call.outputs])
    sketches: Arrays = {}
    results = pull_back(functions, arguments, cotangents)
    for (number, _), (outputs, gradients, states) in zip(jobs, results, strict=True):
        parts = {"out": outputs, "state": states, "in": gradients["inputs"], "weight": gradients["weights"]}
        for name, values in parts.items():
            sketches |= {f"{name}/{number}/{k}": sketch(as_array(value)) for k, value in enumerate(values)}
    return sketches


def comparable(graph: Graph, call: Call, reference: Canonical) -> bool:
    """Return whether a layer computes floats from floats, in the shapes that the reference stored."""
    slots = (*call.inputs, *call.outputs)
    same = all(
        graph.shapes[slot] == reference.tensors[slot].shape[1:] for slot in call.outputs if slot in reference.tensors
    )
    return same and all(graph.floats(slot) and slot in reference.gradients for slot in slots)


def local_function(call: Call) -> Function:
    variables = call.trainable

    def function(arguments: dict[str, Any]) -> tuple[list[Any], Any]:
        with keras.StatelessScope(list(zip(variables, arguments["weights"], strict=True))) as scope:
            outputs = call.run(dict(zip(call.inputs, arguments["inputs"], strict=True)))
            states = states_of(scope, call)
        return outputs, states

    return function


def states_of(scope: keras.StatelessScope, call: Call) -> list[Any]:
    """Return the new statistics of a layer, such as those of batch normalisation."""
    values = [scope.get_current_value(weight) for weight in getattr(call.operation, "non_trainable_weights", [])]
    return [value for value in values if value is not None]


def tensor(array: np.ndarray, dtype: str) -> Any:
    return keras.ops.cast(keras.ops.convert_to_tensor(array), dtype)


def dtype_of(value: Any) -> str:
    return keras.backend.standardize_dtype(value.dtype)


def arrays_of(values: dict[str, Any]) -> Arrays:
    return {name: as_array(value) for name, value in values.items()}


def step_sketches(step: dict[str, Any], graph: Graph) -> Arrays:
    """Return sketches (shortened arrays) of the results of a whole training step, by name.

    <call> is the number of a layer call, and <k> counts its outputs or statistics. The names are

    - out/<call>/<k> for outputs
    - gradient/<call>/<k> for gradients with respect to outputs
    - state/<call>/<k> for new statistics, such as those of batch normalisation
    - weight/<number> for gradients with respect to the network's trained weights
    - loss

    Args:
        step: The result of `WholeStep.run`.
        graph: The layers of the network.
    """
    sketches = {"loss": np.array([float(step["loss"])])}
    for number, call in enumerate(graph.calls):
        for k, slot in enumerate(call.outputs):
            sketches[f"out/{number}/{k}"] = sketch(step["tensors"][str(slot)])
            if str(slot) in step["gradients"]:
                sketches[f"gradient/{number}/{k}"] = sketch(step["gradients"][str(slot)])
        sketches |= {f"state/{number}/{k}": sketch(v) for k, v in enumerate(step["states"][str(number)])}
    return sketches | {f"weight/{k}": sketch(value) for k, value in enumerate(step["weights"])}
