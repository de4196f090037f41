"""What a search is, and what a trial of it is to `kcomp train`: values, command lines, run folders. No Optuna."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kcomp import space
from kcomp.metrics import scores
from kcomp.recipe import Loaded
from kcomp.runs.folder import Run, check_own, default_folder
from kcomp.values import as_text


@dataclass(frozen=True)
class Search:
    """All that the score of a trial depends on, beside the values that are sought.

    loaded: the recipe at `recipe`, with `fixed` (values by name) in it; metric: one of scores.NAMES.
    """

    recipe: Path
    loaded: Loaded
    fixed: Mapping[str, Any]
    backend: str
    folds: tuple[int, ...]
    seed: int
    metric: str

    @cached_property
    def ranges(self) -> dict[str, space.Range]:
        """ValueError where the recipe leaves nothing to search."""
        found = space.ranges(self.loaded.recipe.config, self.fixed)
        if not found:
            raise ValueError(
                f"{self.recipe} declares no range to search; write one beside a value, such as "
                "`peak_rate: Annotated[float, space.LogUniform(1e-4, 1e-2)] = 1e-3` (from typing import Annotated, "
                "from kcomp import space)"
            )
        return found

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits: searches whose scores cannot be compared have different ones."""
        parts = [self.loaded.fingerprint(), self.backend, self.folds, self.seed, self.metric, sorted(self.ranges)]
        parts += [self.data({}, fold) for fold in self.folds]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        return Path("tune") / self.loaded.name / self.key

    @property
    def lower(self) -> bool:
        return self.metric in scores.LOWER_IS_BETTER

    def data(self, values: Mapping[str, Any], fold: int) -> dict[str, Any]:
        """What a manifest says of the rows that these values are trained on and scored by."""
        recipe = self.loaded.with_values(**values).recipe
        table = recipe.table(recipe.config)
        return {"table": table.fingerprint(), "pseudo": table.pseudo_record(fold)}

    def check(self, values: Mapping[str, Any], fold: int) -> None:
        """ValueError where the run folder of these values holds another run, as one of a table that has changed."""
        run = self.run(values, fold)
        if (run / "manifest.json").is_file():
            wanted = {"fingerprint": self.loaded.with_values(**values).fingerprint(), "backend": self.backend}
            check_own(run, wanted | {"seed": self.seed, "fold": fold} | self.data(values, fold))

    def run(self, values: Mapping[str, Any], fold: int) -> Run:
        """The run folder in which `kcomp train` trains these values."""
        loaded = self.loaded.with_values(**values)
        return Run(default_folder(loaded, self.backend, seed=self.seed, fold=fold, root=Path("runs")))

    def command(self, values: Mapping[str, Any], fold: int) -> list[str]:
        """What follows `kcomp` in the command line that trains them."""
        found = ["train", str(self.recipe), "--backend", self.backend, "--seed", str(self.seed), "--fold", str(fold)]
        for name, value in {**self.fixed, **values}.items():
            found += ["--set", f"{name}={as_text(value)}"]
        return found

    def score(self, values: Mapping[str, Any], fold: int) -> float:
        return float(self.run(values, fold).result["scores"][self.metric])

    def now(self, log: list[dict[str, Any]]) -> float:
        """The score of the epoch that a run with this log would keep if it ended here."""
        monitor, kept = self.loaded.recipe.monitor, log[-1]
        if monitor is not None:
            kept = log[0]
            for row in log[1:]:
                kept = row if scores.better(monitor, row[monitor], kept[monitor]) else kept
        return float(kept[self.metric])


def hopeless(value: float, others: list[float], *, lower: bool, least: int = 5) -> bool:
    """Whether a trial is worse than the median of what at least `least` complete trials had reached at this point.

    Golovin et al. 2017, Google Vizier, 3.2.2 (there over running averages).
    """
    if len(others) < least:
        return False
    median = float(np.median(others))
    return value > median if lower else value < median
