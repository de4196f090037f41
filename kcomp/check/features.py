"""Compute the frozen features that several checks need."""

from collections.abc import Sequence

import numpy as np

from kcomp.data.tables import Table
from kcomp.probe.features import frozen_features
from kcomp.probe.frozen_network import NetworkError
from kcomp.recipe import Loaded
from kcomp.report.finding import Finding, Severity
from kcomp.report.page import Section
from kcomp.report.part import Part
from kcomp.report.progress import StepProgress
from kcomp.system.errors import located_line

NOT_HERE = (ModuleNotFoundError, ConnectionError)  # pretrained weights that this machine does not have


def compute_features(
    loaded: Loaded, tables: Sequence[Table], progress: StepProgress, work: float
) -> tuple[Sequence[np.ndarray | None], str, list[Part]]:
    """Compute features of several tables with the recipe's network, or with EfficientNet-Lite0 if that fails.

    Args:
        loaded: The recipe.
        tables: The tables. The first has the labelled rows.
        progress: Where to show the progress.
        work: The work of computing all features, in the unit of `progress`.

    Returns:
        Three things: the features of each table, or None; a sentence about the network; and a part of the report for
            each problem.
    """
    progress.start_step("features of a pretrained network")
    counter, parts = progress.counter(work), []
    try:
        features = frozen_features(loaded, tables, progress=counter)
    except NetworkError as error:
        parts.append(network_part(error.__cause__ or error))
    except Exception:  # noqa: BLE001  # the recipe's batches may raise anything, and have a check
        pass
    else:
        return features.rows, features.network, parts
    try:
        features = frozen_features(None, tables, progress=counter)
    except Exception as error:  # noqa: BLE001  # the images are from functions of the recipe, which may raise anything
        is_same = bool(parts) and located_line(error) in parts[0].numbers["failed"]  # the recipe needs the same weights
        return [None] * len(tables), "", [*([] if is_same else parts), features_part(error)]
    return features.rows, features.network, parts


def network_part(error: BaseException) -> Part:
    text = f"the recipe cannot build its network: {located_line(error)}"
    severity: Severity = "warning" if isinstance(error, NOT_HERE) else "error"
    section = Section("Network", f"{text[0].upper()}{text[1:]}", good=None if severity == "warning" else False)
    return Part("network", section, {"failed": text}, (Finding("network", severity, text),))


def features_part(error: Exception) -> Part:
    text = f"checks that need features of a pretrained network are left out: {located_line(error)}"
    section = Section("Features", f"{text[0].upper()}{text[1:]}", good=None)
    return Part("features", section, {"failed": text}, (Finding("features", "warning", text),))
