"""The checks that `kcomp train` runs by itself: file headers, files with equal content, and folds."""

import hashlib
from dataclasses import replace

import pandas as pd

from kcomp import __version__
from kcomp.check.finding_text import finding_line
from kcomp.data.splits.rows import TOGETHER
from kcomp.data.tables import Table, fold_columns
from kcomp.measurements.content import cache_identity
from kcomp.metrics import Metric
from kcomp.recipe import Recipe
from kcomp.report.finding import Finding, sorted_findings
from kcomp.system.cache import cache_folder
from kcomp.system.errors import error_line
from kcomp.system.files import read_json, write_json
from kcomp.system.locks import try_lock

LINES = 3  # print at most so many lines


def cheap_lines(recipe: Recipe, table: Table, path: str) -> list[str]:
    """Return at most 3 lines for the terminal: the worst errors and warnings about a table.

    The list is empty if there are no errors and warnings, or while another process runs the same checks.

    Args:
        recipe: The recipe.
        table: Its labelled rows.
        path: The recipe as the user named it. The lines recommend `kcomp check` with this path.
    """
    try:
        metric = recipe.metric_of(table.required_target)
    except ValueError:
        return []  # the training reports what is wrong with the recipe
    try:
        findings = cached_findings(table, metric)
    except Exception as error:  # noqa: BLE001  # an error of a check must not stop a training
        return [f"note: the data was not checked: {error_line(error)}; kcomp check {path} has the details"]
    lines = [finding_line(finding) for finding in findings[:LINES]]
    if lines:
        more = len(findings) - len(lines)
        also = f" shows {more} more and their images" if more else " shows the images"
        lines[-1] += f"; kcomp check {path}{also}"
    return lines


def cached_findings(table: Table, metric: Metric) -> list[Finding]:
    """Return the errors and warnings of the checks of `kcomp train`, from the cache if possible.

    The list is empty while another process runs these checks.
    """
    key = cache_key(table, metric)
    if key is None:
        return alarms(table, metric)
    path = cache_folder() / "cheap-checks" / f"{key}.json"
    if not path.is_file():
        lock = try_lock(path.with_suffix(".lock"))
        if lock is None:
            return []
        with lock:
            write_json(path, {"findings": [vars(finding) for finding in alarms(table, metric)]})
    return [
        Finding(**values | {name: tuple(values.get(name, ())) for name in ("image_ids", "details")})
        for values in read_json(path)["findings"]
    ]


def cache_key(table: Table, metric: Metric) -> str | None:
    """Return a hash of the rows, labels, folds and files of a table.

    Return None if an image comes from a function, because its content can then change without notice.
    """
    digest = hashlib.blake2b(f"1 {__version__} {metric.name} {table.target!r}".encode(), digest_size=16)
    names = ["image_id", *fold_columns(table.frame), *(name for name in TOGETHER if name in table.frame)]
    digest.update(pd.util.hash_pandas_object(table.frame[names].astype(str), index=False).to_numpy().tobytes())
    digest.update(table.labels.tobytes())
    for image in table.images:
        identity = cache_identity(image)
        if identity is None:
            return None
        digest.update(identity.encode(errors="surrogatepass"))
    return digest.hexdigest()


def alarms(table: Table, metric: Metric) -> list[Finding]:
    from kcomp.check.data_set import DataSet  # imported here, because the result is in the cache at most starts
    from kcomp.check.duplicates.part import exact_findings
    from kcomp.check.files.part import file_findings
    from kcomp.check.folds.part import check_folds
    from kcomp.measurements.measure import measure

    facts = measure(table, pixels=False)
    facts = replace(facts, pixels_hash=facts.bytes_hash)  # as nothing is decoded: equal files have equal pixels
    data_set = DataSet(table=table, facts=facts, metric=metric)
    findings = [*file_findings(data_set), *exact_findings(data_set), *check_folds(data_set).findings]
    return [finding for finding in sorted_findings(findings) if finding.severity != "note"]
