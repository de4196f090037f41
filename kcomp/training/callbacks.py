"""Keras callbacks that score each epoch, seed dropout, and show progress."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kcomp.data.batches import Batches
from kcomp.data.draws import Purpose, generator
from kcomp.recipe import Recipe, Stage
from kcomp.runs.folder import Run
from kcomp.training.progress import TrainingProgress
from kcomp.training.rates import rate_of


class Score(keras.callbacks.Callback):
    """Score the held-out rows at the end of each epoch, and add the scores to the dict `logs` that Keras passes.

    The attribute `row` is the epoch's line of log.csv, as a dict.

    Args:
        stage: The stage (part of a training) that is trained.
        progress: How much of the training is finished.
        predict: Function that returns predictions (rows, columns) for the held-out rows.
        scores: Function that computes scores, by name, from these predictions.
        training: The batches of the training images.

    Raises:
        FloatingPointError: If the loss or a prediction becomes NaN or infinite.
    """

    def __init__(
        self,
        stage: Stage,
        progress: TrainingProgress,
        *,
        predict: Callable[[], np.ndarray],
        scores: Callable[[np.ndarray], dict[str, float]],
        training: Batches,
    ) -> None:
        super().__init__()
        self.stage, self.progress = stage, progress
        self.predict, self.scores, self.training = predict, scores, training
        # `fit` prepares the first batches before `on_epoch_begin`, so the time of the first epoch begins here
        self.started, self.rate, self.first = time.perf_counter(), 0.0, True
        self.batches, self.before = len(training), 0.0  # what this process trains of the epoch, and seconds of others
        self.row: dict[str, Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        progress = self.progress
        self.started = self.started if self.first else time.perf_counter()
        self.first, self.batches = False, len(self.training) - progress.batches
        if not progress.batches:  # else, an earlier process began the epoch
            progress.rate, progress.epoch_seconds = rate_of(self.model.optimizer), 0.0
        self.rate, self.before = progress.rate, progress.epoch_seconds

    def seconds(self) -> float:
        """Return how many seconds the present epoch takes so far, in all processes that trained it."""
        return self.before + time.perf_counter() - self.started

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        images = self.batches * self.training.batch_size
        trained, number = time.perf_counter() - self.started, self.progress.epochs + 1
        check_finite(float(logs["loss"]), self.stage, number, self.rate)
        predictions = self.predict()
        check_finite(float(predictions.sum()), self.stage, number, self.rate)
        values = self.scores(predictions)
        self.row = {"epoch": number, "stage": self.stage.name, "rate": self.rate}
        self.row |= {name: float(logs[name]) for name in ("loss", "train_accuracy") if name in logs} | values
        self.row |= {"images_per_second": images / trained, "seconds": self.seconds()}
        logs.update({name: value for name, value in self.row.items() if name not in ("epoch", "stage")})


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


def check_finite(value: float, stage: Stage, epoch: int, rate: float) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss became {value} in epoch {epoch}, stage {stage.name!r}, at the rate {rate:.2g}; lower the rate, "
            "clip the gradients (global_clipnorm=1.0) or warm up longer"
            + "; the epochs before it are kept"
            * (epoch > 1)
        )


class SeedNoise(keras.callbacks.Callback):
    """Seed PyTorch's global random generator before each batch, because Keras's dropout layers draw from it.

    A continued run then draws the same dropout masks as an uninterrupted run. On JAX, the callback does nothing.

    Args:
        seed: The seed of the run.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.epoch = seed, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if keras.backend.backend() == "torch":
            import torch

            torch.manual_seed(int(generator(self.seed, Purpose.NOISE, self.epoch, item=batch).integers(2**63)))


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
        self.batches = 0  # of the epoch, trained by this process
        self.shown = self.epoch_start = 0.0
        self.rate = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch_start, self.rate, self.batches = time.perf_counter(), rate_of(self.model.optimizer), 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.advance(self.task)
        self.batches += 1
        now = time.perf_counter()
        if now - self.shown < 0.5:  # read the loss rarely, because reading waits for the device
            return
        self.shown = now
        loss = float((logs or {}).get("loss", math.nan))
        if not math.isfinite(loss):
            self.model.stop_training = True  # Score then raises the error
        speed = self.batches * self.batch_size / (now - self.epoch_start)
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
