"""How much of a training is finished, as its states record it. A continued run uses the last state without damage."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kcomp.runs.folder import BEFORE, SAME, STATE, Run, weights_hash
from kcomp.system.files import DamagedError
from kcomp.training.run_files import check_files
from kcomp.training.state_file import check_state, read_arrays


@dataclass
class TrainingProgress:
    """How much of a training is finished.

    Attributes:
        run: What the state belongs to: `run_identity` of the run's manifest.json.
        stage: The number of the current stage (part of the training), from 0.
        stage_epochs: How many epochs of the current stage are finished.
        epochs: How many epochs of all stages are finished.
        best_epoch: The number, from 1, of the epoch with the best weights so far (with keep="last": the last epoch).
            None before the first epoch ends.
        batches: How many batches of the next epoch are trained, if the state was saved inside an epoch.
        rate: The learning rate at the start of that epoch.
        epoch_seconds: How many seconds its batches took.
        stage_over: Whether early stopping or a callback ended the current stage.
        seconds: How many seconds the finished epochs took.
        log: One dict for each finished epoch, a line of log.csv.
        callbacks: The state of each of the recipe's callbacks in the current stage.
        files: The SHA-256 of each other file that the run needs to continue, by its path in the run folder: the best
            weights, and snapshots.
    """

    run: str = ""
    stage: int = 0
    stage_epochs: int = 0
    epochs: int = 0
    best_epoch: int | None = None
    batches: int = 0
    rate: float = 0.0
    epoch_seconds: float = 0.0
    stage_over: bool = False
    seconds: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def has_begun(self) -> bool:
        return self.epochs > 0 or self.batches > 0


def run_identity(manifest: Mapping[str, Any]) -> str:
    """Return a hash, as 16 hexadecimal digits, of the entries that identify a run. The backend is not one of them."""
    values = [*(manifest.get(name) for name in SAME), weights_hash(manifest)]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def load_progress(run: Run, identity: str, say: Callable[[str], None]) -> TrainingProgress:
    """Return the progress of the last state of a run that is not damaged, or a new progress if there is no state.

    If the last state is damaged, the one before it becomes the last.

    Args:
        run: The run folder.
        identity: `run_identity` of the run's manifest.json.
        say: Function that prints a line. It is called if a state is damaged.

    Raises:
        DamagedError: If the run has states, and all are damaged.
    """
    problems: list[str] = []
    for path in [run / name for name in (STATE, BEFORE) if (run / name).is_file()]:
        try:
            progress = TrainingProgress(**check_state(path))
            if progress.run != identity:
                raise DamagedError(f"{path} belongs to another run")
            check_files(run, progress.files)
        except (DamagedError, TypeError) as error:  # TypeError: entries of another version of kcomp
            problems.append(str(error))
            continue
        if problems:
            say(f"{problems[0]}; the run continues with the state before it, of epoch {progress.epochs}")
        if path != run / STATE:
            path.replace(run / STATE)
        return progress
    if problems:
        raise DamagedError(f"{'; '.join(problems)}; remove {run / STATE} and {run / BEFORE} to start the run again")
    return TrainingProgress(run=identity)


def needed_files(run: Run) -> set[str]:
    """Return the paths in the run folder of all files that the last state or the one before it names."""
    names: set[str] = set()
    for path in [run / name for name in (STATE, BEFORE) if (run / name).is_file()]:
        with contextlib.suppress(DamagedError):
            names |= json.loads(str(read_arrays(path, "progress")["progress"]))["files"].keys()
    return names
