"""Run one training step layer by layer: all layers together, and each layer alone on the same inputs.

The reference process writes every tensor of its forward and backward pass, rounded to float32. Every process then runs
each layer on exactly these inputs and this gradient of its output. A difference therefore shows at the layer that
causes it, not at the layers after it.
"""

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
BUDGET = 256 * 2**20  # bytes of float32 tensors, forward and backward, in the file between processes


def mixed(experiment: ProbeStage, batch: Batch, graph: Graph) -> Arrays:
    """Return `images` and `labels` of a batch, mixed as in a training step. `BUDGET` limits the rows."""
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, batch)
    inputs |= {name: keras.ops.cast(inputs[name], keras.config.floatx()) for name in ("images", "labels")}
    outputs = apply_plans(experiment.model.planned, inputs)
    rows = int(max(2, min(len(batch["images"]), BUDGET // (2 * graph.bytes_a_row()))))
    return {name: as_array(outputs[name])[:rows] for name in ("images", "labels")}


class Canonical:
    """The tensors of the reference by slot, the gradients of the loss with respect to them, and the mixed labels."""

    def __init__(self, arrays: Arrays) -> None:
        self.labels = arrays["labels"]
        self.tensors = {int(name[7:]): value for name, value in arrays.items() if name.startswith("tensor/")}
        self.gradients = {int(name[9:]): value for name, value in arrays.items() if name.startswith("gradient/")}


class WholeStep:
    """The forward and backward pass through all layers.

    An offset of zero is added to each tensor, because the gradient of the offset is the gradient of the tensor.
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
        """Return tensors and gradients by slot, gradients of the weights, new statistics by call, and the loss."""
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


def alone(graph: Graph, reference: Canonical, shake: Callable[[np.ndarray], np.ndarray] | None = None) -> Arrays:
    """Return sketches of each layer's results on the reference's inputs.

    Names: out/<call>/<k>, state/<call>/<k>, in/<call>/<k> (gradient of an input), weight/<call>/<k> (gradient of a
    weight). `shake` changes every input, weight and output gradient by about the rounding error. Layers that are not
    `comparable` are left out.
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
    """Return whether all inputs and outputs of a layer are floats of the same shapes as in the reference."""
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
    """Return the new values of a layer's statistics, if it has set any."""
    values = [scope.get_current_value(weight) for weight in getattr(call.operation, "non_trainable_weights", [])]
    return [value for value in values if value is not None]


def tensor(array: np.ndarray, dtype: str) -> Any:
    return keras.ops.cast(keras.ops.convert_to_tensor(array), dtype)


def dtype_of(value: Any) -> str:
    return keras.backend.standardize_dtype(value.dtype)


def arrays_of(values: dict[str, Any]) -> Arrays:
    return {name: as_array(value) for name, value in values.items()}


def signals(step: dict[str, Any], graph: Graph) -> Arrays:
    """Return sketches of a whole step by name.

    Names: out/<call>/<k>, state/<call>/<k>, gradient/<call>/<k> of the outputs, weight/<number> of the network's
    trained weights, and loss.
    """
    sketches = {"loss": np.array([float(step["loss"])])}
    for number, call in enumerate(graph.calls):
        for k, slot in enumerate(call.outputs):
            sketches[f"out/{number}/{k}"] = sketch(step["tensors"][str(slot)])
            if str(slot) in step["gradients"]:
                sketches[f"gradient/{number}/{k}"] = sketch(step["gradients"][str(slot)])
        sketches |= {f"state/{number}/{k}": sketch(v) for k, v in enumerate(step["states"][str(number)])}
    return sketches | {f"weight/{k}": sketch(value) for k, value in enumerate(step["weights"])}
