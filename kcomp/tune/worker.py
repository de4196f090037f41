"""A worker: takes one trial after the other, trains its folds, ends the hopeless ones early, tells the study."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.trial import TrialState

from kcomp.tune import storage
from kcomp.tune.search import Search, hopeless
from kcomp.tune.training import Training
from kcomp.values import as_text

FOLD = 100_000  # steps a fold: an epoch's step is FOLD * position of the fold + epoch
FAILURES = 3  # trials in a row that fail end the search: it is the recipe, not the values
DIVERGED = "the loss became"  # how kcomp train begins to say that the loss left the numbers


@dataclass
class Worker:
    """total: trials of the study, by all workers; prune: end hopeless trials early; say: prints a line."""

    search: Search
    study: optuna.Study
    total: int
    prune: bool
    say: Callable[[str], None]

    def work(self) -> None:
        """Work until the study has its trials; RuntimeError where one training after the other fails."""
        failed: list[str] = []
        while (found := storage.claim(self.search, self.study, self.total)) is not None:
            with found.lock:
                outcome = Attempt(self, found).run()
                self.tell(found, outcome)
            failed = [*failed, outcome] if isinstance(outcome, str) and not outcome.startswith(DIVERGED) else []
            if len(failed) == FAILURES:
                raise RuntimeError(f"{FAILURES} trials in a row failed, the last: {failed[-1]}")

    def tell(self, found: storage.Claimed, outcome: float | str | None) -> None:
        """Take a trial's outcome into the study: its score, None where it was pruned, or an error."""
        trial = found.trial
        if isinstance(outcome, float):
            self.study.tell(trial, outcome)
            best = self.study.best_trial
            told = f"{self.search.metric} {outcome:.4f}  (best {best.value:.4f}, trial {best.number})"
            self.say(f"trial {trial.number}: {told}")
        elif outcome is None:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("error", outcome)
            # pruned, the sampler learns to stay away; of what failed for another reason it learns nothing
            state = TrialState.PRUNED if outcome.startswith(DIVERGED) else TrialState.FAIL
            self.study.tell(trial, state=state)
            self.say(f"trial {trial.number}: failed: {outcome}")


@dataclass
class Attempt:
    """A worker at one trial. `scores` are those of the folds that are done."""

    worker: Worker
    found: storage.Claimed
    scores: list[float] = field(default_factory=list)

    def run(self) -> float | str | None:
        """Train the folds, and return the mean of their scores; None where the trial was pruned, a text where a
        training failed."""
        search, values = self.worker.search, self.found.values
        texts = "  ".join(f"{name}={as_text(value)}" for name, value in values.items())
        self.worker.say(f"trial {self.found.trial.number}: {texts}")
        for position, fold in enumerate(search.folds):
            error = self.train(position, fold)
            if error is not None:
                return error or None
            self.scores.append(search.score(values, fold))
            if not math.isfinite(self.scores[-1]):
                return f"{search.metric} of fold {fold} is {self.scores[-1]}"
            last = position == len(search.folds) - 1
            if not last and self.is_hopeless(FOLD * (position + 1) - 1, self.scores, f"after fold {fold}"):
                return None
        return float(np.mean(self.scores))

    def train(self, position: int, fold: int) -> str | None:
        """Train a fold; an error, or an empty one where the trial was pruned. ValueError where its folder holds
        another run: the trial stays open, for nothing is wrong with its values."""
        search, values, number = self.worker.search, self.found.values, self.found.trial.number
        output = search.folder / "trials" / f"{number}-fold{fold}.txt"
        run = search.run(values, fold)
        search.check(values, fold)
        command = search.command(values, fold)
        with Training(command, search.backend, run, output) as training:
            for log in training.logs():
                epoch, now = len(log), search.now(log)
                done = run.complete  # then nothing is saved by ending it
                where = f"in epoch {epoch} of fold {fold}"
                if self.is_hopeless(FOLD * position + epoch, [*self.scores, now], where) and not done:
                    return ""
        return None if run.complete else training.error or f"{run.folder} was not trained to its end"

    def is_hopeless(self, step: int, scores: list[float], where: str) -> bool:
        """Report the mean score at this step, and say whether the trial is to be ended there."""
        worker, trial, value = self.worker, self.found.trial, float(np.mean(scores))
        if not math.isfinite(value):
            return False
        if step not in self.found.reported:
            trial.report(value, step)
            self.found.reported.add(step)
        complete = worker.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [other.intermediate_values[step] for other in complete if step in other.intermediate_values]
        if not worker.prune or not hopeless(value, others, lower=worker.search.lower):
            return False
        trial.set_user_attr("pruned", where)
        worker.say(
            f"trial {trial.number}: pruned {where}: {worker.search.metric} {value:.4f}, "
            f"the median is {np.median(others):.4f}"
        )
        return True
