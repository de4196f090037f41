"""A Keras callback that saves a training: best weights, log.csv, and the state."""

import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import pandas as pd

from kcomp.metrics import Metric
from kcomp.recipe import Stage
from kcomp.runs.folder import Run
from kcomp.system.files import write_csv
from kcomp.system.stopping import StoppedError
from kcomp.training import state
from kcomp.training.callback_state import CallbackStates
from kcomp.training.callbacks import Score
from kcomp.training.progress import TrainingProgress, needed_files
from kcomp.training.rates import update_plateaus
from kcomp.training.run_files import BEST, file_hash, is_best, publish_best, remove_old_best, save_weights
from kcomp.training.session import Session

UNSAVED = 5.0  # seconds of training between two saves, for each second that the first save took


class Record(keras.callbacks.Callback):
    """Save the training at the end of each epoch, and inside long epochs.

    List this callback after the recipe's callbacks, so that the state includes their changes.

    Args:
        session: The objects that the training uses, such as network and recipe.
        score: The callback that scored the epoch.
        states: The states of the recipe's callbacks.
    """

    def __init__(self, session: Session, score: Score, states: CallbackStates) -> None:
        super().__init__()
        self.states = states
        self.run, self.network, self.stage_average = session.run, session.network, session.stage_average
        self.score, self.metric, self.keeps_best = score, session.scorer.metric, session.recipe.keep == "best"
        self.save_every, self.saved, self.due = session.save_every, time.monotonic(), -math.inf
        self.stopper, self.epochs = session.stopper, sum(stage.epochs for stage in session.stages)

    def on_train_begin(self, logs: Any = None) -> None:
        self.states.load(self.score.progress.callbacks)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        progress = self.score.progress
        if progress.batches:  # other callbacks may just have changed the rate or themselves, as when the epoch began
            average, metrics = self.stage_average.variables, self.model.metrics_variables
            state.load_variables(self.run, self.network, self.model.optimizer, average, metrics)
            self.states.load(progress.callbacks)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        progress, now = self.score.progress, time.monotonic()
        # the end of the epoch saves too, and raises an error if the loss is not finite
        is_over = batch + 1 >= len(self.score.training) or self.model.stop_training
        stops = self.stopper.is_due()
        if is_over or not (stops or now >= max(self.saved + self.save_every, self.due)):
            return
        if not math.isfinite(
            float((logs or {}).get("loss", 0.0))
        ):  # read only now, because reading waits for the device
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        progress.batches, progress.epoch_seconds = batch + 1, self.score.seconds()
        self.save(self.model.metrics_variables)
        if stops:
            steps = len(self.score.training)
            place = f"epoch {progress.epochs + 1} of {self.epochs}, after batch {batch + 1} of {steps}"
            raise StoppedError(self.stopper.signal, place)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        progress, row, stage = self.score.progress, self.score.row, self.score.stage
        best = next((old for old in progress.log if old["epoch"] == progress.best_epoch), None)
        progress.log.append(row)
        progress.epochs += 1
        progress.stage_epochs += 1
        progress.batches = 0
        progress.seconds += row["seconds"]
        name = self.metric.name
        if not self.keeps_best or best is None or self.metric.is_better(row[name], best[name]):
            progress.best_epoch = progress.epochs
            if self.keeps_best:  # for keep="last", train_stage saves the weights once, because saving is slow
                self.save_best()
        progress.stage_over = self.model.stop_training or out_of_patience(progress, stage, self.metric)
        self.model.stop_training = progress.stage_over
        self.stage_average.epoch_ended(progress.stage_epochs)
        update_plateaus(stage.optimizer, scores_of_stage(progress, self.metric), self.metric.is_better)
        over = progress.stage_over or progress.stage_epochs == stage.epochs
        stops = self.stopper.is_due()
        if over or stops or time.monotonic() > self.due:
            self.save()
        if stops:
            raise StoppedError(self.stopper.signal, f"epoch {progress.epochs} of {self.epochs}, at its end")

    def save_best(self) -> None:
        """Save the weights under a name with their epoch, so that each state has the weights that it names."""
        progress = self.score.progress
        name = BEST.format(progress.best_epoch)
        save_weights(self.run, self.network, name)
        others = {other: digits for other, digits in progress.files.items() if not is_best(other)}
        progress.files = others | {name: file_hash(self.run / name)}

    def save(self, metrics: Sequence[Any] = ()) -> None:
        """Write log.csv, the state and best.weights.h5. `metrics` are Keras's variables of an epoch that has begun."""
        self.stopper.set_alarm(0)  # saving may take longer than the patience after a signal
        progress, started = self.score.progress, time.monotonic()
        progress.callbacks = self.states.values()
        average = self.stage_average.variables
        write_log(self.run, progress)
        state.save(self.run, progress, self.network, self.model.optimizer, average, metrics)
        publish_best(self.run, progress.files)
        remove_old_best(self.run, needed_files(self.run))
        self.saved = time.monotonic()
        self.due = self.saved + UNSAVED * (self.saved - started)


def write_log(run: Run, progress: TrainingProgress) -> None:
    """Write log.csv, unless no epoch is finished."""
    if progress.log:
        write_csv(run / "log.csv", pd.DataFrame(progress.log))


def out_of_patience(progress: TrainingProgress, stage: Stage, metric: Metric) -> bool:
    """Return whether a stage had no better score for `stage.patience` epochs."""
    if stage.patience is None or progress.stage_epochs <= stage.patience:
        return False
    values = scores_of_stage(progress, metric)
    best = values[0]
    epochs_without_gain = 0
    for value in values[1:]:
        epochs_without_gain = 0 if metric.is_better(value, best) else epochs_without_gain + 1
        best = value if epochs_without_gain == 0 else best
    return epochs_without_gain >= stage.patience


def scores_of_stage(progress: TrainingProgress, metric: Metric) -> list[float]:
    """Return the score by `metric` of each finished epoch of the current stage."""
    return [row[metric.name] for row in progress.log[-progress.stage_epochs :]]
