"""What happens at the end of each epoch: score, keep the best weights, log, save the state; and the progress bar."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kcomp import schedules, scores
from kcomp.data.draws import Purpose, generator
from kcomp.files import moved_into, write_csv
from kcomp.recipe import Stage
from kcomp.runs import Run
from kcomp.training import state


class EndOfEpoch(keras.callbacks.Callback):
    """Score the held-out rows, keep the best epoch's weights, write log.csv and the state, and stop on NaN.

    predict: gives the held-out rows' probabilities (rows, classes); labels: their labels; monitor: as in a Recipe.
    """

    def __init__(
        self,
        run: Run,
        progress: state.Progress,
        network: keras.Model,
        *,
        stage: Stage,
        monitor: str | None,
        predict: Callable[[], np.ndarray],
        labels: np.ndarray,
        images: int,
    ) -> None:
        super().__init__()
        self.run, self.progress, self.network, self.stage = run, progress, network, stage
        self.monitor, self.predict, self.labels, self.images = monitor, predict, labels, images
        self.started = self.rate = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started, self.rate = time.perf_counter(), schedules.rate_of(self.model.optimizer)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        trained = time.perf_counter() - self.started
        loss = float((logs or {})["loss"])
        check_finite(loss, self.stage, self.progress.epochs + 1, self.rate)
        probabilities = self.predict()
        check_finite(float(probabilities.sum()), self.stage, self.progress.epochs + 1, self.rate)
        row = {
            "epoch": self.progress.epochs + 1,
            "stage": self.stage.name,
            "rate": self.rate,
            "loss": loss,
            "train_accuracy": float((logs or {})["train_accuracy"]),
            **scores.score(self.labels, probabilities),
            "images_per_second": self.images / trained,
            "seconds": time.perf_counter() - self.started,
        }
        self.record(row)

    def record(self, row: dict[str, Any]) -> None:
        """Take a finished epoch into the progress, then onto the disk; the state last, for it makes the epoch count."""
        progress = self.progress
        best = next((old for old in progress.log if old["epoch"] == progress.best_epoch), None)
        improved = (
            self.monitor is None or best is None or scores.better(self.monitor, row[self.monitor], best[self.monitor])
        )
        progress.log.append(row)
        progress.epochs += 1
        progress.stage_epochs += 1
        progress.seconds += row["seconds"]
        if improved:
            progress.best_epoch = progress.epochs
            with moved_into(self.run / "best.weights.h5") as path:
                self.network.save_weights(path)
        write_csv(self.run / "log.csv", pd.DataFrame(progress.log))
        state.save(self.run, progress, self.network, self.model.optimizer)
        if out_of_patience(progress, self.stage, self.monitor):
            self.model.stop_training = True


def out_of_patience(progress: state.Progress, stage: Stage, monitor: str | None) -> bool:
    """Whether the stage's last `patience` epochs brought no better score than the stage had before them."""
    if stage.patience is None or monitor is None or progress.stage_epochs <= stage.patience:
        return False
    values = [row[monitor] for row in progress.log[-progress.stage_epochs :]]
    best = values[0]
    since = 0
    for value in values[1:]:
        since = 0 if scores.better(monitor, value, best) else since + 1
        best = value if since == 0 else best
    return since >= stage.patience


def check_finite(value: float, stage: Stage, epoch: int, rate: float) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss became {value} in epoch {epoch}, stage {stage.name!r}, at the rate {rate:.2g}; lower the rate, "
            "clip the gradients (global_clipnorm=1.0) or warm up longer. The epochs before it are kept"
        )


class SeedNoise(keras.callbacks.Callback):
    """Key PyTorch's global generator, which Keras's unseeded dropout draws from, by seed and epoch.

    So a run that continues draws what it would have drawn. It is set at the first update, because starting to read
    the data draws from that generator too. On JAX dropout's state is a variable, saved with the others.
    """

    def __init__(self, seed: int, epochs_done: int) -> None:
        super().__init__()
        self.seed, self.epoch = seed, epochs_done

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0 and keras.backend.backend() == "torch":
            import torch

            torch.manual_seed(int(generator(self.seed, Purpose.NOISE, self.epoch).integers(2**63)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch += 1


class Display(keras.callbacks.Callback):
    """A bar over all stages with time left, rate, loss, score and images a second, and a line for each epoch.

    Away from a terminal only the lines are printed.
    """

    def __init__(self, console: Console, title: str, total_batches: int, done_batches: int = 0) -> None:
        super().__init__()
        columns = (
            "{task.description}",
            BarColumn(),
            TaskProgressColumn(),
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
        self.epoch_start, self.rate = time.perf_counter(), schedules.rate_of(self.model.optimizer)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.advance(self.task)
        now = time.perf_counter()
        if now - self.shown < 0.5:  # reading the loss waits for the device
            return
        self.shown = now
        loss = float((logs or {}).get("loss", math.nan))
        if not math.isfinite(loss):
            self.model.stop_training = True  # EndOfEpoch says why
        speed = (batch + 1) * self.batch_size / (now - self.epoch_start)
        self.bar.update(self.task, now=f"rate {self.rate:.1e}  loss {loss:.3f}  {self.score}{speed:.0f} images/s")

    def epoch_line(self, row: dict[str, Any], epochs: int, monitor: str | None) -> None:
        """Print what an epoch brought."""
        self.score = f"{monitor or 'log_loss'} {row[monitor or 'log_loss']:.4f}  "
        names = ("accuracy", "log_loss", "macro_f1", "roc_auc")
        found = "  ".join(f"{name} {row[name]:.4f}" for name in names)
        self.bar.console.print(
            f"epoch {row['epoch']:>3}/{epochs}  {row['stage']:<14} rate {row['rate']:.1e}  loss {row['loss']:.4f}  "
            f"{found}  {row['images_per_second']:.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )
