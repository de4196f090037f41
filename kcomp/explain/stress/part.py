"""Show which changes of the images break a model, and which augmentation or view helps against each change."""

from collections.abc import Callable, Sequence

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.scores.overall import Scores
from kcomp.explain.stress.predict import sample_rows
from kcomp.explain.stress.ranking import StressResult, rank_stress
from kcomp.explain.stress.stages import predict_stages
from kcomp.explain.stress.stressed import Stressed
from kcomp.report import plots
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import number, quantity
from kcomp.system.errors import error_line

FEW = 64  # images
FINDINGS = 3  # at most this many changes are findings
FIRST = 1e9  # weight of the first finding; above those of slices and wrong labels, which count suspects


def stress_part(
    rows: HeldOutRows, outcomes: Outcomes, scores: Scores, count: int, progress: Callable[[int, int], None]
) -> list[Part]:
    """Return two parts of the page: a ranking of the changes of images, and the score at each strength.

    `count` is the largest number of images to change. If changed images cannot be predicted, return a single part that
    says so.
    """
    if rows.table is None:
        return [Part("stress", Section("Stress", "Stress needs the images of the recipe, which cannot be read."))]
    place = best_member(rows, scores)
    try:
        chosen = sample_rows(rows, np.flatnonzero(rows.held_out_by[place]), count)
        stressed = predict_stages(rows, outcomes, place, chosen, progress)
    except Exception as error:  # noqa: BLE001  (recipes are programs and may raise any type)
        return [Part("stress", Section("Stress", f"Changed images cannot be predicted: {error_line(error)}"))]
    results = rank_stress(rows, outcomes, stressed)
    metric = rows.scorer.metric.name
    section = Section("Stress", stress_verdict(results, metric, len(stressed.rows)))
    section.paragraphs += [
        f"{len(stressed.rows)} held-out images were changed before the recipe resized them, and predicted by "
        f"{rows.members[place].name} ({stressed.seconds:.0f} s). Strengths that are neither realistic nor promising "
        f"were applied to {stressed.first.sum()} of them.",
        f"'Worse by' is how much worse {metric} gets at strengths that real images may have. 'Better by' is how much "
        "better it gets if a change is applied. If that is beyond chance, the held-out images differ from the training "
        "images in this respect already.",
    ]
    section.pictures.append(ranking_plot(results, metric))
    section.tables.append(("Changes, the most important first", ranking_table(results)))
    shown = f"{metric} of {stressed.first.sum()} images at each strength, compared with the unchanged images."
    curves = Section("Stress curves", shown)
    curves.pictures += [score_plot(result, metric) for result in results]
    return [
        Part("stress", section, numbers(results, stressed), findings_of(results, metric)),
        Part("stress_curves", curves),
    ]


def best_member(rows: HeldOutRows, scores: Scores) -> int:
    best, place = None, 0
    for position, each in enumerate(scores.members.values()):
        if rows.scorer.metric.is_better(each.mean, best):
            best, place = each.mean, position
    return place


def stress_verdict(results: Sequence[StressResult], metric: str, images: int) -> str:
    first = results[0]
    if not first.is_repair and not first.is_harmful:
        text = "No change at a realistic strength lowers the score beyond chance"
        return f"{text}, but {quantity(images, 'image')} can only show large losses." if images < FEW else f"{text}."
    return stress_sentence(first, metric)


def stress_sentence(result: StressResult, metric: str) -> str:
    kind, before = result.kind, number(result.untouched)
    if result.is_repair and result.repair is not None:
        return (
            f"The held-out images differ from the training images by {kind.name}: with {result.repair.how}, {metric} "
            f"is {number(result.repair.score)} instead of {before}."
        )
    text = f"{kind.name.capitalize()} breaks the model: at {kind.realistic_text}"
    return f"{text}, {metric} is {number(result.realistic)} instead of {before}."


def findings_of(results: Sequence[StressResult], metric: str) -> tuple[Finding, ...]:
    important = [result for result in results if result.is_repair or result.is_harmful][:FINDINGS]
    return tuple(
        Finding(
            "stress",
            "warning" if result.is_repair else "note",
            f"{stress_sentence(result, metric)} What helps: {result.kind.remedy}.",
            weight=FIRST - place,
        )
        for place, result in enumerate(important)
    )


def ranking_plot(results: Sequence[StressResult], metric: str) -> tuple[str, bytes]:
    picture = plots.points(
        [result.kind.name for result in results],
        [result.loss.mean for result in results],
        [(result.loss.low, result.loss.high) for result in results],
        xlabel=f"how much worse {metric} gets at realistic strengths",
        reference=0.0,
    )
    return "What each change costs", picture


def ranking_table(results: Sequence[StressResult]) -> PageTable:
    header = ["change", "realistic strength", "worse by", "p", "better by", "with", "p of better", "what helps"]
    cells = []
    for result in results:
        kind = result.kind
        repair = ["-", "-", "-"]
        if result.repair is not None:
            repair = [number(result.repair.gain), result.repair.how, f"{result.repair.p:.2g}"]
        loss = [number(result.loss.mean), f"{result.p:.2g}"]
        cells.append([kind.name, kind.realistic_text, *loss, *repair, kind.remedy])
    return PageTable(header, cells, marked=[place for place, result in enumerate(results) if result.is_repair])


def score_plot(result: StressResult, metric: str) -> tuple[str, bytes]:
    """Return a caption and a plot of the score at each strength."""
    kind = result.kind
    if kind.names:
        return kind.name, plots.bars(["unchanged", *kind.names], [result.unchanged, *result.scores], xlabel=metric)
    points = sorted([*zip(result.kind.strengths, result.scores, strict=True), (result.kind.neutral, result.unchanged)])
    strengths = [strength for strength, _ in points]
    lines = {"changed": [score for _, score in points], "unchanged": [result.unchanged] * len(points)}
    xlabel = f"{result.kind.name} ({result.kind.unit})" if result.kind.unit else result.kind.name
    return result.kind.name, plots.curves(strengths, lines, xlabel=xlabel, ylabel=metric)


def numbers(results: Sequence[StressResult], stressed: Stressed) -> dict[str, object]:
    ranking = [
        {
            "change": result.kind.name,
            "strengths": list(result.kind.strengths),
            "scores": list(result.scores),
            "unchanged": result.unchanged,
            "loss": vars(result.loss),
            "p": result.p,
            "repair": None if result.repair is None else vars(result.repair),
            "is_repair": result.is_repair,
            "is_harmful": result.is_harmful,
            "remedy": result.kind.remedy,
        }
        for result in results
    ]
    return {"rows": len(stressed.rows), "seconds": round(stressed.seconds, 1), "ranking": ranking}
