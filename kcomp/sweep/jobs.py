"""A job of a sweep: the training of one run, and the command that trains it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kcomp.runs.folder import Run, check_own


@dataclass(frozen=True)
class TrainingJob:
    """A job of a sweep: the training of one run (a recipe with one backend, seed and fold).

    Attributes:
        recipe: Path of the recipe, a Python file.
        backend: "jax" or "torch".
        seed: Seed of the training.
        fold: The fold that is held out.
        values: Values of the recipe to change, by name. Each is a text, as in `kcomp train --set name=text`.
        folder: Path of the run's folder, with the name that `kcomp train` would choose.
        fingerprint: Hash of the recipe, its values and kcomp's code.
        table: Hash of the recipe's image ids, labels and folds.
        metric: Name of the recipe's metric, whose score is shown during training.
        pseudo: The number ("rows") and the hash ("sha256") of the fold's pseudo-labelled rows. None without
            pseudo-labels.
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
        """The file for everything that the job prints, beside the run's folder."""
        return Path(f"{self.folder}.log")

    @property
    def name(self) -> str:
        """A text such as `jax seed 0 fold 1 image_size=160`."""
        texts = [f"{name}={value}" for name, value in self.values.items()]
        return " ".join([self.backend, f"seed {self.seed}", f"fold {self.fold}", *texts])

    def arguments(self, recipe: str | None = None, folder: str | None = None) -> list[str]:
        """Return the arguments of `kcomp` that train this job, beginning with "train".

        Args:
            recipe: Another path of the recipe. None for the job's path.
            folder: Another folder of the run. None for the job's folder.
        """
        settings = [part for name, value in self.values.items() for part in ("--set", f"{name}={value}")]
        numbers = ["--seed", str(self.seed), "--fold", str(self.fold)]
        return ["train", recipe or self.recipe, *numbers, *settings, "-o", folder or self.folder]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self) -> None:
        """Raise ValueError if the run's folder already contains another run, for example with another seed or table."""
        check_own(self.run, asdict(self))

    def last_log_row(self) -> dict[str, Any] | None:
        """Return the last row of the run's log.csv as a dict by column name. None before the first epoch ends."""
        return next(iter(self.run.log_rows()[-1:]), None)
