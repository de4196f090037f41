"""A search for good values, and the command lines and run folders of its trials. This module does not import Optuna."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kcomp import space
from kcomp.metrics.scores import Scorer
from kcomp.recipe import Loaded
from kcomp.runs.folder import Run, check_own, default_folder
from kcomp.values import as_text


@dataclass(frozen=True)
class Search:
    """The settings of a search. They determine the score of a trial, together with the values that the trial tries.

    recipe: path of the recipe.
    loaded: that recipe, with the values of `fixed`.
    fixed:  values that are not searched, by name.
    metric: name of a metric that the runs log.
    scorer: the scorer of the runs, whose metric chooses their epoch.
    """

    recipe: Path
    loaded: Loaded
    fixed: Mapping[str, Any]
    backend: str
    folds: tuple[int, ...]
    seed: int
    metric: str
    scorer: Scorer

    @cached_property
    def ranges(self) -> dict[str, space.Range]:
        """Return the ranges of the searched values, by name. Raise ValueError if there are none."""
        ranges = space.ranges(self.loaded.recipe.config, self.fixed)
        if not ranges:
            raise ValueError(
                f"{self.recipe} declares no range to search; write one beside a value, such as "
                "`peak_rate: Annotated[float, space.LogUniform(1e-4, 1e-2)] = 1e-3` (from typing import Annotated, "
                "from kcomp import space)"
            )
        return ranges

    @cached_property
    def key(self) -> str:
        """Return 12 hexadecimal digits that identify the search. Scores of different searches cannot be compared."""
        parts = [self.loaded.fingerprint(), self.backend, self.folds, self.seed, self.metric, sorted(self.ranges)]
        parts += [self.data({}, fold) for fold in self.folds]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        return Path("tune") / self.loaded.name / self.key

    @property
    def lower(self) -> bool:
        return not next(metric for metric in self.scorer.shown if metric.name == self.metric).higher_is_better

    def data(self, values: Mapping[str, Any], fold: int) -> dict[str, Any]:
        """Return the fingerprints of the table and the pseudo-labels for these values, as a manifest has them."""
        recipe = self.loaded.with_values(**values).recipe
        table = recipe.table(recipe.config)
        return {"table": table.fingerprint(), "pseudo": table.pseudo_record(fold)}

    def check(self, values: Mapping[str, Any], fold: int) -> None:
        """Raise ValueError if the run folder of these values has a different run, such as one of an older table."""
        run = self.run(values, fold)
        if (run / "manifest.json").is_file():
            expected = {"fingerprint": self.loaded.with_values(**values).fingerprint(), "backend": self.backend}
            check_own(run, expected | {"seed": self.seed, "fold": fold} | self.data(values, fold))

    def run(self, values: Mapping[str, Any], fold: int) -> Run:
        """Return the run that `kcomp train` trains with these values."""
        loaded = self.loaded.with_values(**values)
        return Run(default_folder(loaded, self.backend, seed=self.seed, fold=fold, root=Path("runs")))

    def command(self, values: Mapping[str, Any], fold: int) -> list[str]:
        """Return the arguments of `kcomp` that train these values."""
        arguments = [
            "train",
            str(self.recipe),
            "--backend",
            self.backend,
            "--seed",
            str(self.seed),
            "--fold",
            str(fold),
        ]
        for name, value in {**self.fixed, **values}.items():
            arguments += ["--set", f"{name}={as_text(value)}"]
        return arguments

    def score(self, values: Mapping[str, Any], fold: int) -> float:
        return float(self.run(values, fold).result["scores"][self.metric])

    def now(self, log: list[dict[str, Any]]) -> float:
        """Return the score that a run would have if it ended with this log."""
        if self.loaded.recipe.keep == "last":
            return float(log[-1][self.metric])
        metric, best = self.scorer.metric, log[0]
        for row in log[1:]:
            best = row if metric.is_better(row[metric.name], best[metric.name]) else best
        return float(best[self.metric])


def hopeless(value: float, others: list[float], *, lower: bool, least: int = 5) -> bool:
    """Return whether to stop a trial, because it is worse than the median of complete trials at the same step.

    value:  the score of the trial.
    others: the scores of complete trials at this step. If there are fewer than `least`, the trial is not stopped.
    lower:  whether lower scores are better.

    References:
        Golovin et al. 2017, Google Vizier, section 3.2.2 (with running averages).
    """
    if len(others) < least:
        return False
    median = float(np.median(others))
    return value > median if lower else value < median
