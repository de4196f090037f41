"""Work on trials: train their folds, stop bad trials early (pruning), and report the scores to the study."""

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

FOLD = 100_000  # steps per fold: an epoch's step is FOLD * position of the fold + epoch
FAILURES = 3  # failed trials in a row that end the search, because the recipe must be wrong
DIVERGED = "the loss became"  # kcomp train's error begins like this if the loss becomes NaN or infinite


@dataclass
class Worker:
    """A process that works on the trials of a study.

    total:      number of trials of the study, by all workers together.
    prune:      whether to stop bad trials early.
    print_line: function that prints a line.
    """

    search: Search
    study: optuna.Study
    total: int
    prune: bool
    print_line: Callable[[str], None]

    def work(self) -> None:
        """Work until the study has `total` trials. Raise RuntimeError if several trials in a row fail."""
        failed: list[str] = []
        while (claimed := storage.claim(self.search, self.study, self.total)) is not None:
            with claimed.lock:
                outcome = Attempt(self, claimed).run()
                self.record(claimed, outcome)
            failed = [*failed, outcome] if isinstance(outcome, str) and not outcome.startswith(DIVERGED) else []
            if len(failed) == FAILURES:
                raise RuntimeError(f"{FAILURES} trials in a row failed, the last: {failed[-1]}")

    def record(self, claimed: storage.Claimed, outcome: float | str | None) -> None:
        """Record a trial's outcome in the study: its score, None if it was pruned, or an error."""
        trial = claimed.trial
        if isinstance(outcome, float):
            self.study.tell(trial, outcome)
            best = self.study.best_trial
            text = f"{self.search.metric} {outcome:.4f}  (best {best.value:.4f}, trial {best.number})"
            self.print_line(f"trial {trial.number}: {text}")
        elif outcome is None:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("error", outcome)
            # from a pruned trial the sampler learns to avoid the values; from a failed one it learns nothing
            state = TrialState.PRUNED if outcome.startswith(DIVERGED) else TrialState.FAIL
            self.study.tell(trial, state=state)
            self.print_line(f"trial {trial.number}: failed: {outcome}")


@dataclass
class Attempt:
    """The work on one trial. `scores` are those of the folds that are trained."""

    worker: Worker
    claimed: storage.Claimed
    scores: list[float] = field(default_factory=list)

    def run(self) -> float | str | None:
        """Train the folds, and return their mean score. Return None if the trial was pruned, or a text if it failed."""
        search, values = self.worker.search, self.claimed.values
        texts = "  ".join(f"{name}={as_text(value)}" for name, value in values.items())
        self.worker.print_line(f"trial {self.claimed.trial.number}: {texts}")
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
        """Train a fold, and return None. Return an error text if it failed, or an empty text if the trial was pruned.

        Raises:
            ValueError: If the run folder contains a different run. This is no failure of the trial, whose values are
                not the cause: another worker can continue it.
        """
        search, values, number = self.worker.search, self.claimed.values, self.claimed.trial.number
        output = search.folder / "trials" / f"{number}-fold{fold}.txt"
        run = search.run(values, fold)
        search.check(values, fold)
        command = search.command(values, fold)
        with Training(command, search.backend, run, output) as training:
            for log in training.logs():
                epoch, now = len(log), search.now(log)
                was_complete = run.complete  # stopping a complete run saves nothing
                where = f"in epoch {epoch} of fold {fold}"
                if self.is_hopeless(FOLD * position + epoch, [*self.scores, now], where) and not was_complete:
                    return ""
        return None if run.complete else training.error or f"{run.folder} was not trained to its end"

    def is_hopeless(self, step: int, scores: list[float], where: str) -> bool:
        """Report the mean score at this step, and return whether to stop the trial."""
        worker, trial, value = self.worker, self.claimed.trial, float(np.mean(scores))
        if not math.isfinite(value):
            return False
        if step not in self.claimed.reported:
            trial.report(value, step)
            self.claimed.reported.add(step)
        complete = worker.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [other.intermediate_values[step] for other in complete if step in other.intermediate_values]
        if not worker.prune or not hopeless(value, others, lower=worker.search.lower):
            return False
        trial.set_user_attr("pruned", where)
        worker.print_line(
            f"trial {trial.number}: pruned {where}: {worker.search.metric} {value:.4f}, "
            f"the median is {np.median(others):.4f}"
        )
        return True
