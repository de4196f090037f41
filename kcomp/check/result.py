"""The result of all checks of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

from kcomp.check.data_set import DataSet
from kcomp.report.part import Part


@dataclass(frozen=True)
class CheckResult:
    """The result of all checks of a data set.

    Attributes:
        data_set: The data set that was checked.
        parts: The parts of the report: one for each check, and one for each problem before the checks.
        network: A sentence about the network that computed the features. Empty without features.
        failures: The exceptions of checks that failed.
    """

    data_set: DataSet
    parts: Sequence[Part]
    network: str
    failures: Sequence[Exception]
