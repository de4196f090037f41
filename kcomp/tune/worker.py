"""Train the trials (sets of values) of a search, stop bad trials early (pruning), and store their scores."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.trial import TrialState

from kcomp.tune import storage
from kcomp.tune.search import Search, is_worse_than_median
from kcomp.tune.training import Training
from kcomp.values import as_text

FOLD = 100_000  # Optuna numbers scores by steps; an epoch's step is FOLD * (position of the fold) + epoch
FAILURES = 3  # failed trials in a row that end the search, because the recipe must be wrong
DIVERGED = "the loss became"  # kcomp train's error begins like this if the loss becomes NaN or infinite


@dataclass
class Worker:
    """A process that trains the trials (sets of values) of a search. Several workers may share a search.

    Attributes:
        search: The settings of the search.
        study: The Optuna study that stores the trials.
        total: How many trials all workers train together.
        prune: Whether to stop bad trials early.
        print_line: Function that prints a line.
    """

    search: Search
    study: optuna.Study
    total: int
    prune: bool
    print_line: Callable[[str], None]

    def work(self) -> None:
        """Train trials until the study has `total` trials. Raise RuntimeError if several trials in a row fail."""
        failed: list[str] = []
        while (claimed := storage.claim(self.search, self.study, self.total)) is not None:
            with claimed.lock:
                outcome = Attempt(self, claimed).run()
                self.record(claimed, outcome)
            failed = [*failed, outcome] if isinstance(outcome, str) and not outcome.startswith(DIVERGED) else []
            if len(failed) == FAILURES:
                raise RuntimeError(f"{FAILURES} trials in a row failed, the last: {failed[-1]}")

    def record(self, claimed: storage.Claimed, outcome: float | str | None) -> None:
        """Store the outcome of a trial (one set of values) in the Optuna study.

        outcome: The trial's score, None if the trial was stopped early, or an error message.
        """
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
            # the sampler learns to avoid the values of a pruned trial; it ignores a failed trial
            state = TrialState.PRUNED if outcome.startswith(DIVERGED) else TrialState.FAIL
            self.study.tell(trial, state=state)
            self.print_line(f"trial {trial.number}: failed: {outcome}")


@dataclass
class Attempt:
    """The training of one trial (one set of values) on all folds of the search.

    Attributes:
        worker: The worker that trains the trial.
        claimed: The trial.
        scores: The score of each fold whose training is complete.
    """

    worker: Worker
    claimed: storage.Claimed
    scores: list[float] = field(default_factory=list)

    def run(self) -> float | str | None:
        """Train the folds one after the other.

        Return the mean score of the folds, None if the trial was stopped early, or an error message if it failed.
        """
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
            if not last and self.report_and_prune(FOLD * (position + 1) - 1, self.scores, f"after fold {fold}"):
                return None
        return float(np.mean(self.scores))

    def train(self, position: int, fold: int) -> str | None:
        """Train the trial on one fold.

        Args:
            position: The position of the fold in the search's list of folds, from 0.
            fold: The number of the fold.

        Returns:
            None if the fold was trained to its end, "" if the trial was stopped early, or an error message.

        Raises:
            ValueError: If the run folder contains another run.
        """
        search, values, number = self.worker.search, self.claimed.values, self.claimed.trial.number
        output = search.folder / "trials" / f"{number}-fold{fold}.txt"
        run = search.run(values, fold)
        search.check(values, fold)
        command = search.command(values, fold)
        with Training(command, search.backend, run, output) as training:
            for log in training.logs():
                epoch, now = len(log), search.score_so_far(log)
                was_complete = run.complete  # stopping a complete run saves nothing
                where = f"in epoch {epoch} of fold {fold}"
                if self.report_and_prune(FOLD * position + epoch, [*self.scores, now], where) and not was_complete:
                    return ""
        return None if run.complete else training.error or f"{run.folder} was not trained to its end"

    def report_and_prune(self, step: int, scores: list[float], where: str) -> bool:
        """Store the mean score after a step in the study. Return whether the trial must be stopped early.

        A step is one epoch on one fold.

        Args:
            step: The number of the step: FOLD * position of the fold + epoch.
            scores: The scores of the folds up to this step.
            where: The step in words, to be printed.
        """
        worker, trial, value = self.worker, self.claimed.trial, float(np.mean(scores))
        if not math.isfinite(value):
            return False
        if step not in self.claimed.reported:
            trial.report(value, step)
            self.claimed.reported.add(step)
        complete = worker.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [other.intermediate_values[step] for other in complete if step in other.intermediate_values]
        if not worker.prune or not is_worse_than_median(value, others, lower=worker.search.lower):
            return False
        trial.set_user_attr("pruned", where)
        worker.print_line(
            f"trial {trial.number}: pruned {where}: {worker.search.metric} {value:.4f}, "
            f"the median is {np.median(others):.4f}"
        )
        return True
