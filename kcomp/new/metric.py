"""Choose the metric of a new recipe."""

from collections.abc import Sequence

from kcomp import metrics
from kcomp.metrics.names import get_fitting
from kcomp.new.columns import Labels
from kcomp.system.errors import UsageError
from kcomp.targets import AnyOf, Grades, Numbers, OneOf, Target

TARGETS: dict[str, type[Target]] = {
    "label": OneOf,
    "one_hot": OneOf,
    "labels": AnyOf,
    "multi_hot": AnyOf,
    "numbers": Numbers,
    "grades": Grades,
}
KINDS: dict[str, type[Target]] = {"classes": OneOf, "labels": AnyOf, "numbers": Numbers, "grades": Grades}  # --target


def choose_metric(labels: Labels, sample_columns: Sequence[str] | None, name: str | None) -> tuple[str, str]:
    """Choose the metric.

    Args:
        labels: The label columns.
        sample_columns: The columns of the sample submission, except its first column. None if there is no sample.
        name: The value of `--metric`. None chooses a metric.

    Returns:
        Two things: the name of the metric, and why it was chosen, as text for the user.

    Raises:
        UsageError: If no metric has this name, or the metric does not fit the target.
    """
    target = TARGETS[labels.argument]
    if name is not None:
        try:
            return get_fitting(name, target).name, "--metric"
        except ValueError as error:
            raise UsageError(f"--metric: {error}{other_targets(labels, name)}") from error
    in_one_cell = sample_columns is not None and len(sample_columns) == 1
    if labels.argument == "label" and in_one_cell:
        return "accuracy", "the sample submission has one column (--metric changes it)"
    if labels.argument == "labels" and in_one_cell:
        return "macro_f1", "the sample submission has labels in a cell (--metric changes it)"
    return target.default_metric, "the usual one for this target (--metric changes it)"


def other_targets(labels: Labels, name: str) -> str:
    """Return a hint for an error message: the values of --target that fit the labels and the metric, if any."""
    try:
        metric = metrics.get(name)
    except ValueError:
        return ""
    kinds = [kind for kind in labels.others if metric.on in KINDS[kind].metric_inputs]
    return f"; or choose --target {' or '.join(kinds)}" if kinds else ""
