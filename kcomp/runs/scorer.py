"""Get the metric and the target (the kind of labels) of complete runs."""

from collections.abc import Sequence

from kcomp.metrics.names import get_fitting
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run


def scorer_of(runs: Sequence[Run], metric: str | None = None) -> Scorer:
    """Return a Scorer with the metric and the target (the kind of labels) of runs.

    Args:
        runs: At least one run.
        metric: Name of a metric. None for the metric of the recipe that the runs trained.

    Raises:
        ValueError: If the runs have different targets or metrics, or the metric is unknown, does not fit, or is a
            function in the recipe.
    """
    names = list(dict.fromkeys(run.manifest["metric"] for run in runs))
    if metric is None and len(names) > 1:
        raise ValueError(f"the runs were trained with different metrics, {', '.join(names)}; choose one with --metric")
    try:
        return Scorer(get_fitting(metric or names[0], runs[0].target), runs[0].target)
    except ValueError as error:
        if metric is not None:
            raise
        raise ValueError(
            f"the runs' metric {names[0]!r} is a function of their recipe; choose with --metric"
        ) from error
