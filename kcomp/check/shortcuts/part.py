"""Check whether properties of the image files, such as the JPEG quality, predict the labels."""

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.shortcuts.outcome import outcome_of, sample_rows
from kcomp.check.shortcuts.permutation import run_tests
from kcomp.check.shortcuts.properties import properties_of
from kcomp.check.shortcuts.section import findings_of, make_section, numbers_of
from kcomp.probe.folds import new_folds
from kcomp.report.page import Section
from kcomp.report.part import Part

MOST_ROWS = 5000
LEAST_ROWS = 20


def check_shortcuts(data_set: DataSet) -> Part:
    title = "Shortcuts"
    rows = sample_rows(data_set.table, data_set.facts.readable, MOST_ROWS, data_set.seed)
    table = data_set.table.rows(rows)
    if len(rows) < LEAST_ROWS:
        return Part("shortcuts", Section(title, f"At least {LEAST_ROWS} rows are needed; there are {len(rows)}."))
    outcome = outcome_of(table)
    if not any(len(np.unique(column[~np.isnan(column)])) > 1 for column in outcome.values.T):
        return Part("shortcuts", Section(title, "All rows have the same label, so there is nothing to predict."))
    properties = properties_of(data_set.facts.rows(rows), table.ids)
    constant = [each.name for each in properties if each.is_constant]
    varying = [each for each in properties if not each.is_constant]
    folds = new_folds(table, data_set.seed)
    tested = run_tests(varying, outcome, folds, data_set.seed)
    section = make_section(tested, outcome, constant)
    section.paragraphs.insert(0, f"{len(rows)} of {len(data_set.table)} rows were used.")
    return Part("shortcuts", section, numbers_of(tested, outcome), tuple(findings_of(tested, outcome)))
