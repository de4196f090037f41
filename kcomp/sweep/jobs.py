"""A job: one run to be trained, the command that trains it, and how far its folder says it has come."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kcomp.runs.folder import Run, check_own


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    values:  what `--set` gives, as texts by name.
    folder:  the run folder, as `kcomp train` names it, below the sweep's root.
    monitor: the score that is shown while it trains.
    table:   hash of the table that the recipe gives now.
    pseudo:  of the pseudo-labels that it gives now for this fold, as the manifest has it.
    """

    recipe: str
    backend: str
    seed: int
    fold: int
    values: dict[str, str]
    folder: str
    fingerprint: str
    table: str
    monitor: str
    pseudo: dict[str, Any] | None = None

    @property
    def run(self) -> Run:
        return Run(Path(self.folder))

    @property
    def log(self) -> Path:
        """What its processes printed, one after the other, beside the run folder."""
        return Path(f"{self.folder}.log")

    @property
    def name(self) -> str:
        texts = [f"{name}={value}" for name, value in self.values.items()]
        return " ".join([self.backend, f"seed {self.seed}", f"fold {self.fold}", *texts])

    def arguments(self, recipe: str | None = None, folder: str | None = None) -> list[str]:
        """The arguments of `kcomp`, for another place of the recipe or the run if one is given."""
        given = [part for name, value in self.values.items() for part in ("--set", f"{name}={value}")]
        numbers = ["--seed", str(self.seed), "--fold", str(self.fold)]
        return ["train", recipe or self.recipe, *numbers, *given, "-o", folder or self.folder]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self) -> None:
        """ValueError where the folder holds another run, begun or complete: known before hours of work."""
        check_own(self.run, asdict(self))

    def logged(self) -> dict[str, Any] | None:
        """The last epoch in the run folder's log.csv, None before the first."""
        return next(iter(self.run.log()[-1:]), None)
