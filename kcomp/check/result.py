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
        parts: The result of each check.
        network: One sentence about the network whose features were used. Empty without features.
        failures: The errors of checks that failed because of an error in kcomp. Empty if all checks ran.
    """

    data_set: DataSet
    parts: Sequence[Part]
    network: str
    failures: Sequence[Exception]
