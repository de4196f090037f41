"""Callbacks that send the log of a training to TensorBoard or Weights & Biases.

A recipe's `callbacks` function returns them:

    def callbacks(config):
        return [tracking.TensorBoard(), tracking.WandB(project="leaves")]

If a Keras callback has one of these two methods, kcomp calls the method:

    set_run(folder, values, log)   before each stage of training and before on_result
    on_result(result)              once, after the training

`folder` is the run's folder, `values` the recipe's values by name, and `log` a list with the row of log.csv for each
finished epoch. `result` is the content of result.json.
"""

import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kcomp.runs.folder import Run
from kcomp.system.backends import require_packages
from kcomp.system.files import read_json, write_json

SKIPPED_COLUMNS = ("epoch", "stage")  # columns of log.csv without a curve: the step itself, and a text

__all__ = ["TensorBoard", "WandB"]


class TensorBoard(keras.callbacks.Callback):
    """Write the curves of a training, the recipe's values and the final scores for TensorBoard.

    The file is in `<run folder>/tensorboard`, and `tensorboard --logdir runs` shows it.

    Raises:
        ModuleNotFoundError: If the extra kcomp[track] is not installed.

    Examples:
        >>> from kcomp import tracking
        >>> def callbacks(config):
        ...     return [tracking.TensorBoard()]
        >>> len(callbacks(config=None))
        1
    """

    def __init__(self) -> None:
        super().__init__()
        require_packages(["tensorboardX"], "track")
        self.writer: Any = None
        self.ended: Any = None  # TensorBoard's summary that marks the run as ended
        self.epochs = 0

    def set_run(self, folder: Path, values: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        self.close()
        for old in (folder / "tensorboard").glob("events.out.tfevents.*"):
            old.unlink()
        # with purge_step=0, a running TensorBoard discards all steps that it has read
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=0)
        plain = {name: value if isinstance(value, int | float | str) else str(value) for name, value in values.items()}
        *start_summaries, self.ended = hparams(plain, {f"final/{name}": 0.0 for name in Run(folder).manifest["scores"]})
        for summary in start_summaries:
            self.writer.file_writer.add_summary(summary)
        for row in log:
            self.add(row, row["epoch"])
        self.epochs = len(log)
        self.writer.flush()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.add(logs or {}, epoch + 1)
        self.writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        self.close()

    def on_result(self, result: Mapping[str, Any]) -> None:
        for name, value in result["scores"].items():
            if value is not None:
                self.writer.add_scalar(f"final/{name}", value, self.epochs)
        self.writer.file_writer.add_summary(self.ended)
        self.close()

    def add(self, row: Mapping[str, Any], step: int) -> None:
        for name, value in row.items():
            if name not in SKIPPED_COLUMNS:
                self.writer.add_scalar(name, float(value), step)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class WandB(keras.callbacks.Callback):
    """Send the curves of a training, the recipe's values and the final scores to Weights & Biases (W&B).

    A continued training continues the same W&B run, whose id is stored in `<run folder>/wandb.json`.

    Args:
        **options: Arguments of `wandb.init`, such as project="leaves" or mode="offline".

    Raises:
        ModuleNotFoundError: If the extra kcomp[wandb] is not installed.
        RuntimeError: If the mode is online and this machine is not logged in to W&B.

    Examples:
        >>> from kcomp import tracking
        >>> def callbacks(config):
        ...     return [tracking.WandB(project="leaves", mode="offline")]
        >>> len(callbacks(config=None))
        1
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        require_packages(["wandb"], "wandb")
        check_login(options.get("mode"))
        self.options = options
        self.wandb_run: Any = None

    def set_run(self, folder: Path, values: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> None:
        import wandb

        place = folder / "wandb.json"
        if not place.is_file():
            write_json(place, {"id": secrets.token_hex(8)})
        run_id = read_json(place)["id"]
        is_open = wandb.run is not None and wandb.run.id == run_id
        self.wandb_run = wandb.run if is_open else self.begin(folder, values, run_id)
        for row in log:
            self.send(row, row["epoch"])

    def begin(self, folder: Path, values: Mapping[str, Any], run_id: str) -> Any:
        import wandb

        run, manifest = Run(folder), Run(folder).manifest
        config = {**values, **{name: manifest[name] for name in ("backend", "seed", "fold")}}
        options: dict[str, Any] = {"project": "kcomp", "name": run.name, "dir": str(folder)}
        options |= {"group": f"{manifest['recipe']}-{manifest['fingerprint']}"}
        options |= {"settings": wandb.Settings(console="off", silent=True), **self.options}
        earlier_records = list((Path(options["dir"]) / "wandb").glob(f"offline-run-*-{run_id}"))
        wandb_run = wandb.init(**options, id=run_id, resume="allow", config=config)
        for record in earlier_records:
            if wandb_run.offline and not list(record.glob("*.synced")):
                shutil.rmtree(record)
        return wandb_run

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.send(logs or {}, epoch + 1)

    def on_result(self, result: Mapping[str, Any]) -> None:
        final = {f"final/{name}": value for name, value in result["scores"].items()}
        self.wandb_run.summary.update({**final, "final/epoch": result["epoch"]})
        self.wandb_run.finish()

    def send(self, row: Mapping[str, Any], step: int) -> None:
        numbers = {name: float(value) for name, value in row.items() if name not in SKIPPED_COLUMNS}
        if step >= self.wandb_run.step:  # wandb_run.step is the first step that the server lacks
            self.wandb_run.log(numbers, step=step, commit=True)


def check_login(mode: str | None) -> None:
    """Raise RuntimeError if W&B needs a login and this machine has none.

    `mode` is that of wandb.init, such as "offline". None for W&B's own setting.
    """
    import wandb

    mode = mode or wandb.setup().settings.mode
    if mode in ("online", "shared") and not wandb.login(prompt=False, verify=False):
        raise RuntimeError(
            'this machine is not logged in to W&B; run `wandb login`, set WANDB_API_KEY, or use WandB(mode="offline")'
        )
