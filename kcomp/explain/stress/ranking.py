"""Rank changes of images: by how much they lower the score, or raise it if they are repairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.stress.costs import metric_of_stress, p_value_of_increase, row_costs
from kcomp.explain.stress.kinds import KINDS, Stress
from kcomp.explain.stress.repairs import Repair, best_repair, repairs_of
from kcomp.explain.stress.stressed import Stressed
from kcomp.metrics.significance import Interval, holm, paired_metric

FALSE_ALARMS = 0.01  # probability that at least one change is called harmful, or helpful, by chance


@dataclass(frozen=True)
class StressResult:
    """What one kind of change does to the score.

    Attributes:
        kind: The kind of change.
        scores: The score at each strength, on the rows that were predicted at all strengths.
        unchanged: The score of the same rows without a change.
        untouched: The score of all sampled rows without a change.
        realistic: The mean score of all sampled rows at the realistic strengths.
        loss: How much worse the score is at the realistic strengths on average, with its 95 % interval. Above 0 is
            worse.
        p: The probability that so many rows are worse by chance, corrected for the number of kinds (Holm 1979).
        repair: The best repair by this kind of change. None for a kind that cannot be reversed.
    """

    kind: Stress
    scores: tuple[float, ...]
    unchanged: float
    untouched: float
    realistic: float
    loss: Interval
    p: float
    repair: Repair | None

    @property
    def is_repair(self) -> bool:
        """Whether `repair` raises the score beyond chance.

        If so, the held-out images seem to have this change already.
        """
        return self.repair is not None and self.repair.gain > 0 and self.repair.p <= FALSE_ALARMS

    @property
    def is_harmful(self) -> bool:
        """Whether the realistic strengths make the score worse beyond chance."""
        return self.loss.mean > 0 and self.p <= FALSE_ALARMS

    @property
    def order(self) -> tuple[bool, bool, float]:
        """The key to sort results. Repairs beyond chance come first, and changes that may change the label last.

        Repairs are sorted by gain, and the other changes by loss.
        """
        if self.is_repair and self.repair:
            return False, False, -self.repair.gain
        return True, self.kind.may_change_label, -float(np.nan_to_num(self.loss.mean, nan=-np.inf))


def rank_stress(rows: HeldOutRows, outcomes: Outcomes, stressed: Stressed) -> list[StressResult]:
    """Return the result of each kind of change, the most important first.

    Repairs, which are changes of the held-out images that raise the score, come first. Then come the changes that lower
    the score most.
    """
    results = [result_of(rows, outcomes, stressed, kind) for kind in KINDS]
    results = [replace(each, p=p) for each, p in zip(results, holm([each.p for each in results]).tolist(), strict=True)]
    return sorted(with_repairs(rows, outcomes, stressed, results), key=lambda each: each.order)


def result_of(rows: HeldOutRows, outcomes: Outcomes, stressed: Stressed, kind: Stress) -> StressResult:
    """Return the result of a kind of change, without a repair and with an uncorrected p-value."""
    labels, first, metric = rows.labels[stressed.rows], stressed.first, metric_of_stress(rows, outcomes)
    changed = stressed.changed[kind.name]
    realistic = np.stack([changed[kind.strengths.index(strength)] for strength in kind.realistic])
    loss = paired_metric(metric, labels, stressed.untouched, realistic, target=None)
    before = row_costs(metric, rows, outcomes, labels, stressed.untouched)
    after = np.mean([row_costs(metric, rows, outcomes, labels, values) for values in realistic], 0)
    return StressResult(
        kind=kind,
        scores=tuple(metric(labels[first], values[first]) for values in changed),
        unchanged=metric(labels[first], stressed.untouched[first]),
        untouched=metric(labels, stressed.untouched),
        realistic=float(np.mean([metric(labels, values) for values in realistic])),
        loss=loss if metric.higher_is_better else loss.negative(),
        p=p_value_of_increase(before, after),
        repair=None,
    )


def with_repairs(
    rows: HeldOutRows, outcomes: Outcomes, stressed: Stressed, results: Sequence[StressResult]
) -> list[StressResult]:
    """Return the results with their best repairs. The p-values of all repairs are corrected together (Holm 1979)."""
    tested: list[tuple[int, Repair]] = []
    for place, result in enumerate(results):
        tested += [(place, repair) for repair in repairs_of(rows, outcomes, stressed, result.kind)]
    corrected = holm([repair.p for _, repair in tested]).tolist()
    repairs: list[list[Repair]] = [[] for _ in results]
    for (place, repair), p in zip(tested, corrected, strict=True):
        repairs[place].append(replace(repair, p=p))
    pairs = zip(results, repairs, strict=True)
    return [replace(result, repair=best_repair(each, FALSE_ALARMS)) for result, each in pairs]
