"""A training job: one run of a sweep, and the command that trains it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kcomp.runs.folder import Run, check_own


@dataclass(frozen=True)
class TrainingJob:
    """One run of a sweep.

    values:  texts for `--set`, by name.
    folder:  the run folder, with the name that `kcomp train` gives it, inside the folder of the sweep.
    table:   fingerprint of the recipe's current table.
    metric:  name of the recipe's metric, which is shown during training.
    pseudo:  the entry `pseudo` of the manifest for the current pseudo-labels of this fold. None without pseudo-labels.
    """

    recipe: str
    backend: str
    seed: int
    fold: int
    values: dict[str, str]
    folder: str
    fingerprint: str
    table: str
    metric: str
    pseudo: dict[str, Any] | None = None

    @property
    def run(self) -> Run:
        return Run(Path(self.folder))

    @property
    def log(self) -> Path:
        """Return the file beside the run folder with the output of the job's processes."""
        return Path(f"{self.folder}.log")

    @property
    def name(self) -> str:
        texts = [f"{name}={value}" for name, value in self.values.items()]
        return " ".join([self.backend, f"seed {self.seed}", f"fold {self.fold}", *texts])

    def arguments(self, recipe: str | None = None, folder: str | None = None) -> list[str]:
        """Return the arguments of `kcomp`, optionally with another path of the recipe or of the run."""
        settings = [part for name, value in self.values.items() for part in ("--set", f"{name}={value}")]
        numbers = ["--seed", str(self.seed), "--fold", str(self.fold)]
        return ["train", recipe or self.recipe, *numbers, *settings, "-o", folder or self.folder]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self) -> None:
        """Raise ValueError if the folder contains a different run, complete or not."""
        check_own(self.run, asdict(self))

    def logged(self) -> dict[str, Any] | None:
        """Return the last epoch in the run folder's log.csv. None before the first epoch ends."""
        return next(iter(self.run.log_rows()[-1:]), None)
