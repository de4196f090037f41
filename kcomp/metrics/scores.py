"""Score predictions with the recipe's metric and with the other metrics that are shown for its target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.metrics.metric import Metric
from kcomp.metrics.names import get
from kcomp.targets import Target


@dataclass(frozen=True)
class Scorer:
    """Score predictions of a target.

    Args:
        metric: The metric of the recipe. It comes first.
        target: The target of the labels.
    """

    metric: Metric
    target: Target

    def __call__(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        """Return the value of the recipe's metric for predictions (rows, columns)."""
        return self.metric(labels, predictions, self.target)

    def all(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        """Return the scores of all shown metrics, by name. A score that is undefined is NaN."""
        return score_each(self.shown, labels, predictions, self.target)

    @property
    def shown(self) -> list[Metric]:
        """The metric, then the others that are shown for the target."""
        return self.first(len(self.target.shown_metrics))

    def first(self, count: int) -> list[Metric]:
        """Return the recipe's metric, then the first `count` metrics of the target. The recipe's is not repeated."""
        return [self.metric, *(get(name) for name in self.target.shown_metrics[:count] if name != self.metric.name)]


def score_each(
    metrics: Sequence[Metric], labels: np.ndarray, predictions: np.ndarray, target: Target
) -> dict[str, float]:
    """Return the scores of predictions (rows, columns) by the names of the metrics."""
    return {metric.name: metric(labels, predictions, target) for metric in metrics}
