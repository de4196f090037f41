"""Fit thresholds or cut points to held-out predictions, and score them by nested cross-validation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.metrics.decisions import CutPoints, Thresholds, fit_decisions, from_json, nested_score
from kcomp.metrics.scores import Scorer
from kcomp.targets.arrays import list_names

SHOWN = 8  # at most this many thresholds are printed


@dataclass(frozen=True)
class ScoredDecisions:
    """Fitted thresholds or cut points, and how much they improve the score.

    Attributes:
        metric: Name of the metric.
        decisions: The thresholds or cut points, fitted on all held-out rows. They are used for test rows.
        plain: The score without a fit: with thresholds of 0.5, or with predictions rounded to the nearest grade.
        nested: The score by nested cross-validation. Each part of the rows is scored with a fit on the other parts.
        optimistic: The score on the rows that `decisions` were fitted on. This score is too good.
        unseen: Names of the labels without a positive held-out row, or of the grades without a held-out row.
    """

    metric: str
    decisions: Thresholds | CutPoints
    plain: float
    nested: float
    optimistic: float
    unseen: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a dict of all attributes, which kcomp stores as `decisions` in a run's result.json."""
        scores = {"plain": self.plain, "nested": self.nested, "optimistic": self.optimistic}
        return {**self.decisions.to_json(), "metric": self.metric, **scores, "unseen": list(self.unseen)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ScoredDecisions":
        values = {name: stored[name] for name in ("plain", "nested", "optimistic")}
        scores = {name: math.nan if value is None else float(value) for name, value in values.items()}
        return cls(stored["metric"], from_json(stored), **scores, unseen=tuple(stored.get("unseen", ())))

    def describe(self) -> str:
        """Return a sentence with the thresholds or cut points, and the scores `nested`, `plain` and `optimistic`."""
        values = self.decisions.values
        numbers = ", ".join(f"{value:.3g}" for value in values[:SHOWN])
        more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
        return (
            f"Fitted {self.decisions.to_json()['kind']}: {numbers}{more}. By nested cross-validation {self.metric} is "
            f"{self.nested:.4f}, without them {self.plain:.4f}; on the rows that they were fitted on, it would be "
            f"{self.optimistic:.4f}.{self._warning()}"
        )

    def _warning(self) -> str:
        if not self.unseen:
            return ""
        names = list_names(self.unseen, SHOWN)
        if isinstance(self.decisions, Thresholds):
            return f"\nwarning: labels without a positive held-out row have no fitted threshold: {names}"
        return (
            f"\nwarning: grades without a held-out row have no fitted cut point, so hardly any image gets them: {names}"
        )


def score_decisions(
    scorer: Scorer, labels: np.ndarray, predictions: np.ndarray, parts: np.ndarray
) -> ScoredDecisions | None:
    """Return the thresholds or cut points that the metric needs, with their scores by nested cross-validation.

    Args:
        scorer: The metric and the target.
        labels: Shape (rows, columns).
        predictions: Predictions of rows that the network was not trained on, shape (rows, columns).
        parts: For nested cross-validation, the part of each row, shape (rows,).

    Returns:
        The thresholds or cut points with their scores. None if the metric or the target uses neither, or if there are
        fewer than two parts.
    """
    metric, target = scorer.metric, scorer.target
    decisions = fit_decisions(labels, predictions, metric, target) if len(np.unique(parts)) > 1 else None
    if decisions is None:
        return None
    unseen = target.class_counts(labels) == 0
    return ScoredDecisions(
        metric.name,
        decisions,
        plain=scorer(labels, predictions),
        nested=nested_score(labels, predictions, parts, metric, target),
        optimistic=metric(labels, predictions, target, decisions),
        unseen=tuple(name for name, is_unseen in zip(target.class_names, unseen, strict=True) if is_unseen),
    )
