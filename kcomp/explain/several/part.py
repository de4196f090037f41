"""Show how much several models agree, which rows all of them get wrong, and which two models have the best average."""

from collections.abc import Sequence

import numpy as np

from kcomp.explain.errors.galleries import Gallery
from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.several.agreement import Agreement, ModelPair, compare_members
from kcomp.report import plots
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import number, percent, quantity

SHOWN = 24  # pictures of rows that all models get wrong
LISTED = 200  # their ids in explain.json


def several_part(rows: HeldOutRows, outcomes: Outcomes) -> tuple[Part, Gallery] | None:
    """Return two things: the part of the page about several models, and a gallery of rows that all models get wrong.

    Return None for a single model, or if no row was held out by all models.
    """
    agreement = compare_members(rows, outcomes)
    if agreement is None:
        return None
    count = len(agreement.held_out.ids)
    section = Section("Several models", several_verdict(agreement, count))
    section.paragraphs.append(
        f"All {len(agreement.names)} models held out {count:,} rows in common. A model is all folds of one recipe, "
        "backend and seed. The less two models agree, the more their mean usually gains."
    )
    names = short_names(rows)
    if len(names) > 2:
        section.pictures.append(agreement_plot(names, agreement))
    section.tables.append(("Means of two models, the best first", pair_table(names, agreement, rows)))
    group = Gallery("", np.empty(0, int))
    if agreement.wrong_by is not None:
        section.tables.append(("How many models get a row wrong", wrong_table(agreement)))
        ids = agreement.held_out.ids[agreement.wrong_by_all]
        places = rows.ids.get_indexer(ids)
        places = places[np.argsort(-outcomes.severity[places], kind="stable")]
        caption = f"Rows that all models get wrong ({len(places)} in all): check their labels first"
        group = Gallery(caption, places[:SHOWN])
    return Part("several", section, numbers(names, agreement), findings_of(names, agreement, rows)), group


def short_names(rows: HeldOutRows) -> list[str]:
    """Return a short name for each model: the values, such as the seed, in which the models differ."""
    parts = [(each.recipe, each.fingerprint[:6], each.backend, each.draw) for each in rows.members]
    columns = [column for column in zip(*parts, strict=True) if len(set(column)) > 1]
    return (
        [" ".join(values) for values in zip(*columns, strict=True)] if columns else [each.name for each in rows.members]
    )


def several_verdict(agreement: Agreement, count: int) -> str:
    text = ""
    if agreement.wrong_by is not None:
        wrong = len(agreement.wrong_by_all)
        text = f"All models get {quantity(wrong, 'row')} of {count:,} wrong. "
    best = agreement.pairs[0]
    if best.gain is not None and best.gain.low > 0:
        return text + "The mean of the best pair of models scores better than each of the two, beyond chance."
    return text + "No mean of two models scores better than each of the two, beyond chance."


def agreement_plot(names: Sequence[str], agreement: Agreement) -> tuple[str, bytes]:
    """Return a caption and a plot: how often two models disagree or, for numbers, how their predictions correlate."""
    if agreement.disagreement is None:
        caption, values = "Correlation of the predictions of each pair of models", agreement.correlation
    else:
        caption, values = (
            "Share of rows or labels for which two models predict different classes, in %",
            100 * agreement.disagreement,
        )
    return caption, plots.matrix(values, names, xlabel="model", ylabel="model")


def pair_table(names: Sequence[str], agreement: Agreement, rows: HeldOutRows) -> PageTable:
    metric = rows.scorer.metric.name
    header = ["model", "other model", f"{metric} of the mean", "of the better", "gain", "from", "to"]
    header += ["correlation", "disagreement"]
    cells = [
        [
            names[pair.first],
            names[pair.second],
            number(pair.score),
            number(pair.better),
            *gain_cells(pair),
            f"{pair.correlation:.4f}",
            percent(pair.disagreement),
        ]
        for pair in agreement.pairs
    ]
    return PageTable(header, cells)


def gain_cells(pair: ModelPair) -> list[str]:
    if pair.gain is None:
        return ["-", "-", "-"]
    return [number(pair.gain.mean), number(pair.gain.low), number(pair.gain.high)]


def wrong_table(agreement: Agreement) -> PageTable:
    assert agreement.wrong_by is not None
    counts = np.bincount(agreement.wrong_by, minlength=len(agreement.names) + 1)
    cells = [[str(models), str(rows), percent(rows / counts.sum())] for models, rows in enumerate(counts)]
    return PageTable(["models that are wrong", "rows", "share"], cells)


def findings_of(names: Sequence[str], agreement: Agreement, rows: HeldOutRows) -> tuple[Finding, ...]:
    best = agreement.pairs[0]
    if best.gain is None or best.gain.low <= 0:
        return ()
    message = (
        f"The mean of {names[best.first]} and {names[best.second]} has a {rows.scorer.metric.name} of "
        f"{number(best.score)}. The better of the two has {number(best.better)}. Average them with kcomp ensemble."
    )
    return (Finding("ensemble", "note", message),)


def numbers(names: Sequence[str], agreement: Agreement) -> dict[str, object]:
    wrong = [] if agreement.wrong_by is None else agreement.held_out.ids[agreement.wrong_by_all].tolist()
    pairs = [vars(pair) | {"gain": None if pair.gain is None else vars(pair.gain)} for pair in agreement.pairs]
    return {
        "models": list(names),
        "rows": len(agreement.held_out.ids),
        "correlation": agreement.correlation.tolist(),
        "disagreement": None if agreement.disagreement is None else agreement.disagreement.tolist(),
        "pairs": pairs,
        "wrong_by_all": len(wrong),
        "wrong_by_all_ids": wrong[:LISTED],
    }
