"""Save and load the state of a training, so that a stopped run can continue."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from kcomp.runs.folder import STATE, Run
from kcomp.training.progress import TrainingProgress
from kcomp.training.state_file import read_arrays, write_state


def save(
    run: Run,
    progress: TrainingProgress,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    averages: Sequence[Any] = (),
    metrics: Sequence[Any] = (),
) -> None:
    """Write the state file: the progress, and all variables of network, optimizer and weight average.

    Args:
        run: The run folder.
        progress: How much of the training is finished.
        network: The network.
        optimizer: The optimizer of the current stage, already built.
        averages: The variables of the object that averages weights.
        metrics: The variables of the loss and the metrics of an epoch that has begun.
    """
    arrays = {f"network/{name}": value for name, value in named(network_variables(network)).items()}
    arrays |= {f"optimizer/{name}": value for name, value in named(optimizer.variables).items()}
    arrays |= {f"average/{name}": value for name, value in named(averages).items()}
    arrays |= {f"metrics/{name}": value for name, value in named(metrics).items()}
    arrays["progress"] = np.array(json.dumps(asdict(progress)))
    write_state(run, arrays)


def load_variables(
    run: Run,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    averages: Sequence[Any] = (),
    metrics: Sequence[Any] = (),
) -> None:
    """Load the variables that `save` wrote into the network, the optimizer and the weight average.

    Args:
        run: The run folder.
        network: The network.
        optimizer: The optimizer of the current stage, already built.
        averages: The variables of the object that averages weights.
        metrics: The variables of the loss and the metrics of an epoch that has begun.

    Raises:
        DamagedError: If the file is damaged.
        ValueError: If its variables have other names, shapes or order.
    """
    arrays = read_arrays(run / STATE)
    assign(network_variables(network), arrays, "network/", run)
    assign(optimizer.variables, arrays, "optimizer/", run)
    assign(averages, arrays, "average/", run)
    if metrics:
        assign(metrics, arrays, "metrics/", run)


def network_variables(network: keras.Model) -> list[Any]:
    """Return all variables of a network in an order that does not depend on which layers are frozen."""
    ordered = [variable for layer in network.layers for variable in layer.variables]
    ordered += network.variables
    return list({id(variable): variable for variable in ordered}.values())


def named(variables: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the values of variables by position and path, such as "00003/dense/kernel"."""
    return {
        f"{number:05d}/{variable.path}": np.asarray(keras.ops.convert_to_numpy(variable.value))
        for number, variable in enumerate(variables)
    }


def assign(variables: Sequence[Any], arrays: dict[str, np.ndarray], prefix: str, run: Run) -> None:
    names = sorted(name for name in arrays if name.startswith(prefix))
    saved = [(name.rpartition("/")[2], arrays[name].shape) for name in names]
    # compare names too: variables of equal shape may have another order in another version of Keras
    ours = [(variable.path.rpartition("/")[2], tuple(variable.shape)) for variable in variables]
    if ours != saved:
        mismatch = next(
            (pair for pair in zip(ours, saved, strict=False) if pair[0] != pair[1]), (len(ours), len(saved))
        )
        raise ValueError(
            f"the state in {run.folder} does not fit the recipe's model on this backend with this Keras: expected "
            f"{mismatch[0]}, found {mismatch[1]}; remove the folder to start again, or use -o"
        )
    for variable, name in zip(variables, names, strict=True):
        value = arrays[name]
        variable.assign(value.astype(keras.backend.standardize_dtype(variable.dtype)) if value.dtype != bool else value)
