"""Keras callbacks that score each epoch, save weights, log and state, seed dropout, and show progress."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kcomp.data.draws import Purpose, generator
from kcomp.metrics import Metric
from kcomp.recipe import Recipe, Stage
from kcomp.runs.folder import Run
from kcomp.system.files import moved_into, write_csv
from kcomp.training import state
from kcomp.training.callback_state import callback_state, load_callback_state
from kcomp.training.rates import rate_of, update_plateaus
from kcomp.training.session import Session

UNSAVED = 5.0  # seconds of training between two saves, for each second that the first save took


class Score(keras.callbacks.Callback):
    """Score the held-out rows at the end of each epoch, and add the scores to the dict `logs` that Keras passes.

    The attribute `row` is the epoch's line of log.csv, as a dict.

    Args:
        stage: The stage (part of a training) that is trained.
        progress: How much of the training is finished.
        predict: Function that returns predictions (rows, columns) for the held-out rows.
        scores: Function that computes scores, by name, from these predictions.
        images: How many training images an epoch has.

    Raises:
        FloatingPointError: If the loss or a prediction becomes NaN or infinite.
    """

    def __init__(
        self,
        stage: Stage,
        progress: state.TrainingProgress,
        *,
        predict: Callable[[], np.ndarray],
        scores: Callable[[np.ndarray], dict[str, float]],
        images: int,
    ) -> None:
        super().__init__()
        self.stage, self.progress = stage, progress
        self.predict, self.scores, self.images = predict, scores, images
        # `fit` prepares the first batches before `on_epoch_begin`, so the time of the first epoch begins here
        self.started, self.rate, self.first = time.perf_counter(), 0.0, True
        self.row: dict[str, Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = self.started if self.first else time.perf_counter()
        self.first, self.rate = False, rate_of(self.model.optimizer)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        trained, number = time.perf_counter() - self.started, self.progress.epochs + 1
        check_finite(float(logs["loss"]), self.stage, number, self.rate)
        predictions = self.predict()
        check_finite(float(predictions.sum()), self.stage, number, self.rate)
        values = self.scores(predictions)
        self.row = {"epoch": number, "stage": self.stage.name, "rate": self.rate}
        self.row |= {name: float(logs[name]) for name in ("loss", "train_accuracy") if name in logs} | values
        self.row |= {"images_per_second": self.images / trained, "seconds": time.perf_counter() - self.started}
        logs.update({name: value for name, value in self.row.items() if name not in ("epoch", "stage")})


class Record(keras.callbacks.Callback):
    """Save the training at the end of each epoch: best weights, log.csv, and the state.

    List this callback after the recipe's callbacks, so that the state includes their changes.

    Args:
        session: The objects that the training uses, such as network and recipe.
        score: The callback that scored the epoch.
        callbacks: The callbacks of the recipe.
    """

    def __init__(self, session: Session, score: Score, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__()
        self.callbacks = callbacks
        self.run, self.network, self.stage_average = session.run, session.network, session.stage_average
        self.score, self.metric, self.keeps_best = score, session.scorer.metric, session.recipe.keep == "best"
        self.due = -math.inf

    def on_train_begin(self, logs: Any = None) -> None:
        load_callback_state(self.callbacks, self.score.progress.callbacks)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        progress, row, stage = self.score.progress, self.score.row, self.score.stage
        best = next((old for old in progress.log if old["epoch"] == progress.best_epoch), None)
        progress.log.append(row)
        progress.epochs += 1
        progress.stage_epochs += 1
        progress.seconds += row["seconds"]
        name = self.metric.name
        if not self.keeps_best or best is None or self.metric.is_better(row[name], best[name]):
            progress.best_epoch = progress.epochs
            if self.keeps_best:  # for keep="last", train_stage saves the weights once, because saving is slow
                save_weights(self.run, self.network)
        progress.stage_over = self.model.stop_training or out_of_patience(progress, stage, self.metric)
        self.model.stop_training = progress.stage_over
        self.stage_average.epoch_ended(progress.stage_epochs)
        update_plateaus(stage.optimizer, scores_of_stage(progress, self.metric), self.metric.is_better)
        progress.callbacks = callback_state(self.callbacks)
        over = progress.stage_over or progress.stage_epochs == stage.epochs
        started = time.monotonic()
        if over or started > self.due:
            write_csv(self.run / "log.csv", pd.DataFrame(progress.log))
            state.save(self.run, progress, self.network, self.model.optimizer, self.stage_average.variables)
            ended = time.monotonic()
            self.due = ended + UNSAVED * (ended - started)


def recipe_callbacks(recipe: Recipe, run: Run, log: list[dict[str, Any]]) -> list[keras.callbacks.Callback]:
    """Return the Keras callbacks that the recipe defines.

    If a callback has a method `set_run`, it receives the run folder, the recipe's settings and `log`; see
    kcomp.tracking.
    """
    callbacks = list(recipe.callbacks(recipe.config)) if recipe.callbacks else []
    for callback in callbacks:
        if hasattr(callback, "set_run"):
            callback.set_run(run.folder, asdict(recipe.config), log)
    return callbacks


def report_result(recipe: Recipe, run: Run, log: list[dict[str, Any]], result: Mapping[str, Any]) -> None:
    """Pass `result`, the content of result.json, to the recipe's callbacks that have a method `on_result`."""
    for callback in recipe_callbacks(recipe, run, log):
        if hasattr(callback, "on_result"):
            callback.on_result(result)


def save_weights(run: Run, network: keras.Model, name: str = "best.weights.h5") -> None:
    """Write a network's weights to the file `name` in the run folder. kcomp predicts with best.weights.h5."""
    with moved_into(run / name) as path:
        network.save_weights(path)


def out_of_patience(progress: state.TrainingProgress, stage: Stage, metric: Metric) -> bool:
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


def scores_of_stage(progress: state.TrainingProgress, metric: Metric) -> list[float]:
    """Return the score by `metric` of each finished epoch of the current stage."""
    return [row[metric.name] for row in progress.log[-progress.stage_epochs :]]


def check_finite(value: float, stage: Stage, epoch: int, rate: float) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss became {value} in epoch {epoch}, stage {stage.name!r}, at the rate {rate:.2g}; lower the rate, "
            "clip the gradients (global_clipnorm=1.0) or warm up longer"
            + "; the epochs before it are kept"
            * (epoch > 1)
        )


class SeedNoise(keras.callbacks.Callback):
    """Seed PyTorch's global random generator in each epoch, because Keras's dropout layers draw from it.

    A continued run then draws the same dropout masks as an uninterrupted run. On JAX, the callback does nothing.

    Args:
        seed: The seed of the run.
        epochs_done: How many epochs the run has finished.
    """

    def __init__(self, seed: int, epochs_done: int) -> None:
        super().__init__()
        self.seed, self.epoch = seed, epochs_done

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # not at the start of an epoch, because starting the data loading draws numbers too
        if batch == 0 and keras.backend.backend() == "torch":
            import torch

            torch.manual_seed(int(generator(self.seed, Purpose.NOISE, self.epoch).integers(2**63)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch += 1


class Display(keras.callbacks.Callback):
    """Show one progress bar for the whole training, and print a line for each epoch.

    If the output is not a terminal, only the lines are printed.

    Args:
        console: Where to print.
        title: The text in front of the bar.
        total_batches: How many batches the whole training has.
        done_batches: How many of these batches were trained before, if the run is continued.
    """

    def __init__(self, console: Console, title: str, total_batches: int, done_batches: int = 0) -> None:
        super().__init__()
        columns = (
            "{task.description}",
            BarColumn(bar_width=6),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
        )
        self.bar = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal, refresh_per_second=4
        )
        self.task = self.bar.add_task(title, total=total_batches, completed=done_batches, now="")
        self.console, self.batch_size, self.score = console, 0, ""
        self.shown = self.epoch_start = 0.0
        self.rate = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch_start, self.rate = time.perf_counter(), rate_of(self.model.optimizer)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.advance(self.task)
        now = time.perf_counter()
        if now - self.shown < 0.5:  # read the loss rarely, because reading waits for the device
            return
        self.shown = now
        loss = float((logs or {}).get("loss", math.nan))
        if not math.isfinite(loss):
            self.model.stop_training = True  # Score then raises the error
        speed = (batch + 1) * self.batch_size / (now - self.epoch_start)
        self.bar.update(self.task, now=f"rate {self.rate:.0e} loss {loss:.2f} {self.score}{speed:.0f} img/s")

    def epoch_line(self, row: dict[str, Any], epochs: int, names: Sequence[str]) -> None:
        """Print the line of a finished epoch: the loss on training rows, and scores on held-out rows.

        Args:
            row: The epoch's line of log.csv.
            epochs: How many epochs the whole training has.
            names: The scores to print, in this order.
        """
        self.score = f"{names[0]} {row[names[0]]:.3f} "
        held_out = "  ".join(f"{name} {row[name]:.4f}" for name in names)
        self.bar.console.print(
            f"epoch {row['epoch']:>3}/{epochs}  {row['stage']:<14} rate {row['rate']:.1e}  "
            f"training: loss {row['loss']:.4f}  held out: {held_out}  {row['images_per_second']:.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )
