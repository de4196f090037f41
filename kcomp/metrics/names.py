"""Find a metric by its name."""

import difflib
import re
from collections.abc import Callable
from typing import Any

from kcomp.metrics import classification, ranking, regression
from kcomp.metrics.classification import AVERAGES, f_beta
from kcomp.metrics.metric import Metric
from kcomp.metrics.ranking import map_at_k, top_k
from kcomp.targets import Target

METRICS = {
    metric.name: metric
    for module in (classification, ranking, regression)
    for metric in vars(module).values()
    if isinstance(metric, Metric)
}
NAMES = tuple(METRICS)
WITH_NUMBERS = ("f2", "micro_f0.5", "top_5", "map@5")  # examples of names with a number


def get(metric: str | Metric | Callable[[Any, Any], float]) -> Metric:
    """Return a metric by its name, or make a metric from a function.

    Args:
        metric: A name from `NAMES`, a name with a number, such as "f2" (macro), "micro_f0.5", "top_5" or "map@5", a
            Metric, or a function. The function takes labels and predictions (rows, columns) and returns a float. If
            lower values are better, set its attribute `higher_is_better` to False.

    Raises:
        ValueError: If no metric has this name.
        TypeError: If `metric` is not a name, a Metric or a function.

    Examples:
        >>> from kcomp import metrics
        >>> metrics.get("roc_auc") == metrics.roc_auc
        True
        >>> metrics.get("map@3").name, metrics.get("f2").name
        ('map@3', 'macro_f2')
        >>> def worst_error(labels, predictions):
        ...     return abs(labels - predictions).max()
        >>> worst_error.higher_is_better = False
        >>> metrics.get(worst_error)([[1.0], [2.0]], [[1.5], [2.0]])
        0.5
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return METRICS[metric] if metric in METRICS else with_number(metric)
    if metric in (f_beta, top_k, map_at_k):
        raise TypeError(f"call metrics.{metric.__name__} to make a metric, such as {WITH_NUMBERS}")
    if callable(metric):
        return Metric(
            getattr(metric, "__name__", type(metric).__name__), metric, bool(getattr(metric, "higher_is_better", True))
        )
    raise TypeError(f"a metric is a name, a metrics.Metric or a function; received {metric!r}")


def get_fitting(metric: str | Metric | Callable[[Any, Any], float], target: Target | type[Target]) -> Metric:
    """Return the metric that `get` returns, after checking that it fits the target.

    Raises:
        ValueError: If the metric does not fit the target, such as accuracy for numbers.
    """
    made = get(metric)
    is_function = made.on == "predictions" and METRICS.get(made.name) is not made
    if made.on in target.metric_inputs or is_function:
        return made
    fitting = [name for name, other in METRICS.items() if other.on in target.metric_inputs]
    raise ValueError(
        f"the metric {made.name} does not fit a target of {target.name}; use one of {', '.join(fitting)}, or a "
        "function of labels and predictions"
    )


def with_number(name: str) -> Metric:
    """Return the metric of a name that contains a number, such as "top_5". Raise ValueError for an unknown name."""
    if match := re.fullmatch(rf"(?:({'|'.join(AVERAGES)})_)?f(\d+(?:\.\d+)?)", name):
        return f_beta(float(match[2]), match[1] or "macro")
    if match := re.fullmatch(r"(top_|map@)(\d+)", name):
        return (top_k if match[1] == "top_" else map_at_k)(int(match[2]))
    names = (*NAMES, *WITH_NUMBERS)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    raise ValueError(f"no metric {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"))
