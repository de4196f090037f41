"""A search for good values of a recipe: its settings, and the runs that it trains.

A trial is one set of values. A run is the training with these values on one fold.
"""

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
    """The settings of a search for good values.

    Attributes:
        recipe: Path of the recipe.
        loaded: The recipe, with the values of `fixed`.
        fixed: Values that are not searched, by name.
        backend: "jax" or "torch".
        folds: The folds on which each trial (set of values) is trained. Its score is the mean over these folds.
        seed: Seed of the runs and of the search.
        metric: Name of the metric that the search optimises. The runs log this metric.
        scorer: The recipe's own metric, which chooses the best epoch of a run, and the target.
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
        """The range of each searched value, by name. Raise ValueError if the recipe declares no range."""
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
        """A hash of the settings and the data, as 12 hexadecimal digits."""
        parts = [self.loaded.fingerprint(), self.backend, self.folds, self.seed, self.metric, sorted(self.ranges)]
        parts += [self.data({}, fold) for fold in self.folds]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        return Path("tune") / self.loaded.name / self.key

    @property
    def lower(self) -> bool:
        """Whether lower scores are better."""
        return not next(metric for metric in self.scorer.shown if metric.name == self.metric).higher_is_better

    def data(self, values: Mapping[str, Any], fold: int) -> dict[str, Any]:
        """Return the entries of manifest.json that identify the data of a run: "table" and "pseudo".

        "table" is the hash of ids, labels and folds. "pseudo" is the number and the hash of pseudo-labelled rows, or
        None.
        """
        recipe = self.loaded.with_values(**values).recipe
        table = recipe.table(recipe.config)
        return {"table": table.fingerprint(), "pseudo": table.pseudo_record(fold)}

    def check(self, values: Mapping[str, Any], fold: int) -> None:
        """Raise ValueError if the run folder for these values and this fold already contains another run."""
        run = self.run(values, fold)
        if (run / "manifest.json").is_file():
            expected = {"fingerprint": self.loaded.with_values(**values).fingerprint(), "backend": self.backend}
            check_own(run, expected | {"seed": self.seed, "fold": fold} | self.data(values, fold))

    def run(self, values: Mapping[str, Any], fold: int) -> Run:
        """Return the run that `kcomp train` trains with these values on this fold."""
        loaded = self.loaded.with_values(**values)
        return Run(default_folder(loaded, self.backend, seed=self.seed, fold=fold, root=Path("runs")))

    def command(self, values: Mapping[str, Any], fold: int) -> list[str]:
        """Return the arguments of the command `kcomp train` for these values and this fold, beginning with "train"."""
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

    def score_so_far(self, log: list[dict[str, Any]]) -> float:
        """Return the score of an unfinished run after its latest epoch. `log` has the rows of its log.csv."""
        if self.loaded.recipe.keep == "last":
            return float(log[-1][self.metric])
        metric, best = self.scorer.metric, log[0]
        for row in log[1:]:
            best = row if metric.is_better(row[metric.name], best[metric.name]) else best
        return float(best[self.metric])


def is_worse_than_median(value: float, others: list[float], *, lower: bool, least: int = 5) -> bool:
    """Return whether a trial has a worse score than the median of the complete trials at the same step.

    Args:
        value: The score of the trial.
        others: The scores that the complete trials had at this step.
        lower: Whether lower scores are better.
        least: The smallest number of complete trials. With fewer, return False.

    References:
        Golovin et al. 2017, Google Vizier, section 3.2.2 (with running averages).
    """
    if len(others) < least:
        return False
    median = float(np.median(others))
    return value > median if lower else value < median
