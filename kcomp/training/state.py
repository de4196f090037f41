"""Save and load the state of a training, so that a stopped run can continue."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kcomp.runs.folder import STATE, Run
from kcomp.system.files import replacing


@dataclass
class TrainingProgress:
    """How much of a training is finished.

    Attributes:
        stage: The number of the current stage (part of the training), from 0.
        stage_epochs: How many epochs of the current stage are finished.
        epochs: How many epochs of all stages are finished.
        best_epoch: The number, from 1, of the epoch with the best weights so far (with keep="last": the last epoch).
            None before the first epoch ends.
        stage_over: Whether early stopping or a callback ended the current stage.
        seconds: How many seconds the finished epochs took.
        log: One dict for each finished epoch, a line of log.csv.
        callbacks: The state of the recipe's callbacks in the current stage.
    """

    stage: int = 0
    stage_epochs: int = 0
    epochs: int = 0
    best_epoch: int | None = None
    stage_over: bool = False
    seconds: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)
    callbacks: list[dict[str, float | None]] = field(default_factory=list)


def save(
    run: Run,
    progress: TrainingProgress,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    averages: Sequence[Any] = (),
) -> None:
    """Write the state file: the progress, and all variables of network, optimizer and weight average.

    Args:
        run: The run folder.
        progress: How much of the training is finished.
        network: The network.
        optimizer: The optimizer of the current stage, already built.
        averages: The variables of the object that averages weights.
    """
    arrays = {f"network/{name}": value for name, value in named(network_variables(network)).items()}
    arrays |= {f"optimizer/{name}": value for name, value in named(optimizer.variables).items()}
    arrays |= {f"average/{name}": value for name, value in named(averages).items()}
    arrays["progress"] = np.array(json.dumps(asdict(progress)))
    with replacing(run / STATE) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_progress(run: Run) -> TrainingProgress:
    """Return the saved progress of a run, or a new progress if there is no state file."""
    path = run / STATE
    if not path.is_file():
        return TrainingProgress()
    return TrainingProgress(**json.loads(str(read_arrays(path, "progress")["progress"])))


def load_variables(
    run: Run, network: keras.Model, optimizer: keras.optimizers.Optimizer, averages: Sequence[Any] = ()
) -> None:
    """Load the variables that `save` wrote into the network, the optimizer and the weight average.

    Args:
        run: The run folder.
        network: The network.
        optimizer: The optimizer of the current stage, already built.
        averages: The variables of the object that averages weights.

    Raises:
        ValueError: If the file is damaged, or its variables have other names, shapes or order.
    """
    arrays = read_arrays(run / STATE)
    assign(network_variables(network), arrays, "network/", run)
    assign(optimizer.variables, arrays, "optimizer/", run)
    assign(averages, arrays, "average/", run)


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


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as file:
            return {name: file[name] for name in (names or file.files)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to start the run again") from error
