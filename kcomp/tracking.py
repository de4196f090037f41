"""Callbacks that send what log.csv gets to TensorBoard or Weights & Biases too; `callbacks` of a recipe returns them.

    def callbacks(config):
        return [tracking.TensorBoard(), tracking.WandB(project="leaves")]

Any Keras callback may have two methods that kcomp calls; these have both:

    set_run(folder, values, log)   before each stage, and before on_result: the run's folder, the recipe's values by
                                   name, and the rows of log.csv so far, epoch 1 first
    on_result(result)              once, after result.json was written, with what is in it

`log.csv` and `result.json` stay the truth. A step is an epoch's number, so continuing a run goes on with its curves.
"""

import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kcomp.metrics import scores
from kcomp.runs.folder import Run
from kcomp.system.backends import require_packages
from kcomp.system.files import read_json, write_json

LEFT_OUT = ("epoch", "stage")  # of a row: the step, and a text


class TensorBoard(keras.callbacks.Callback):
    """Write the curves, the values and the final scores into `<run folder>/tensorboard`; needs the extra `track`.

    `tensorboard --logdir runs` shows them. The file is written anew from the log whenever a stage begins, so it holds
    every epoch once, also those before the callback was added.
    """

    def __init__(self) -> None:
        super().__init__()
        require_packages(["tensorboardX"], "track")
        self.writer: Any = None
        self.ended: Any = None  # a summary that says so
        self.epochs = 0

    def set_run(self, folder: Path, values: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        self.close()
        for old in (folder / "tensorboard").glob("events.out.tfevents.*"):
            old.unlink()
        # a TensorBoard that is looking on forgets what it read from step 0 on
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=0)
        plain = {name: value if isinstance(value, int | float | str) else str(value) for name, value in values.items()}
        *started, self.ended = hparams(plain, {f"final/{name}": 0.0 for name in scores.NAMES})
        for summary in started:
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
            if name not in LEFT_OUT:
                self.writer.add_scalar(name, float(value), step)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class WandB(keras.callbacks.Callback):
    """Send the curves, the values and the final scores to Weights & Biases; needs the extra `wandb`.

    options: of `wandb.init`, such as project="leaves" or mode="offline" (WANDB_MODE does as well). The id is kept in
    `<run folder>/wandb.json`: a run that is continued goes on as the same one. It is given the whole log again, for
    what was on its way when a process was killed is lost; epochs that the server has are left out. Offline, the new
    record takes the place of one that was cut off.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        require_packages(["wandb"], "wandb")
        self.options = options
        self.sent: Any = None  # wandb's run

    def set_run(self, folder: Path, values: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> None:
        import wandb

        place = folder / "wandb.json"
        if not place.is_file():
            write_json(place, {"id": secrets.token_hex(8)})
        kept = read_json(place)["id"]
        self.sent = wandb.run if wandb.run is not None and wandb.run.id == kept else self.begin(folder, values, kept)
        for row in log:
            self.send(row, row["epoch"])

    def begin(self, folder: Path, values: Mapping[str, Any], kept: str) -> Any:
        import wandb

        run, made = Run(folder), Run(folder).manifest
        told = {**values, "backend": made["backend"], "seed": made["seed"], "fold": made["fold"]}
        options: dict[str, Any] = {"project": "kcomp", "name": run.name, "dir": str(folder)}
        options |= {"group": f"{made['recipe']}-{made['fingerprint']}"}
        options |= {"settings": wandb.Settings(console="off", silent=True), **self.options}
        before = list((Path(options["dir"]) / "wandb").glob(f"offline-run-*-{kept}"))
        begun = wandb.init(**options, id=kept, resume="allow", config=told)
        for record in before:
            if begun.offline and not list(record.glob("*.synced")):
                shutil.rmtree(record)
        return begun

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.send(logs or {}, epoch + 1)

    def on_result(self, result: Mapping[str, Any]) -> None:
        found = {f"final/{name}": value for name, value in result["scores"].items()}
        self.sent.summary.update({**found, "final/epoch": result["epoch"]})
        self.sent.finish()

    def send(self, row: Mapping[str, Any], step: int) -> None:
        numbers = {name: float(value) for name, value in row.items() if name not in LEFT_OUT}
        if step >= self.sent.step:  # the step after the last it has
            self.sent.log(numbers, step=step, commit=True)
