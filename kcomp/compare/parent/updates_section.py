"""Write the section of the report that compares the first updates."""

from collections.abc import Mapping
from typing import Any

from kcomp.compare.parent import pictures
from kcomp.compare.parent.arithmetic_section import joined_names, number
from kcomp.compare.parent.verdict import display_name
from kcomp.report.page import PageTable, Section


def updates_summary(trajectory: Mapping[str, Any]) -> str:
    optimizer, update = trajectory["optimizer"], trajectory["checked_update"]
    if not optimizer["alike"]:
        return (
            f"The optimizers differ: after {optimizer['updates']} updates from the same gradients, the weights differ "
            f"by {number(optimizer['difference'])} of the distance that they moved "
            f"(tolerance {number(optimizer['tolerance'])})."
        )
    if not update:
        return f"None of the {trajectory['updates']} updates moves the weights, so no update is checked."
    if trajectory["identical"]:
        names = joined_names(trajectory["labels"][:2])
        return f"{names} are identical to the last bit after {trajectory['updates']} updates."
    distances = [values[-1] for values in trajectory["reordered"].values()]
    first, tolerance, last = (number(trajectory[name]) for name in ("first_distance", "tolerance", "last_distance"))
    text = (
        f"After update {update}, the first that moves the weights, the backends differ by {first} of the norm of the "
        f"weights (tolerance {tolerance}), after {trajectory['updates']} updates by {last}. One backend differs from "
        f"itself by {number(min(distances))} to {number(max(distances))} where it rounds in another way."
    )
    if trajectory["alike"]:
        return f"Both backends make the same update {update}. {text}"
    return f"Update {update} differs by more than rounding explains. {text}"


def updates_section(trajectory: Mapping[str, Any]) -> Section:
    good = trajectory["alike"] and trajectory["optimizer"]["alike"] and trajectory["same_batches"]
    section = Section("First updates", updates_summary(trajectory), good)
    section.paragraphs += explanations(trajectory)
    section.pictures.append(("Loss and distance by update", pictures.updates_picture(trajectory)))
    section.tables.append(("The same updates in a second process", repeat_table(trajectory)))
    section.tables.append(("Update by update", update_table(trajectory)))
    return section


def explanations(trajectory: Mapping[str, Any]) -> list[str]:
    optimizer, starts = trajectory["optimizer"], trajectory["other_starts"]
    batches = "The batches are identical." if trajectory["same_batches"] else "The batches are NOT identical."
    same = "Both backends build the same starting weights, to the last bit."
    if starts:
        same = f"The backends build other starting weights, for instance {starts[0]}; both train from the first's."
    return [
        f"What was run: the same stage from the recipe's starting weights, without dropout and other noise. {batches} "
        f"{same}",
        "How it is measured: each backend also trains with the rows of each batch in another order, and with every "
        "weight moved by up to the rounding unit. That is the same mathematics, rounded in another way. Only the first "
        f"update that moves the weights is checked. Its tolerance is {trajectory['factor']:.0f} times the largest "
        "effect of rounding, plus the difference between the optimizers alone, plus the rounding of stored weights. "
        "Later updates are not checked, because one number that crosses a kink multiplies a difference.",
        f"The optimizer alone: after {optimizer['updates']} updates from the same made-up gradients, the weights "
        f"differ by {number(optimizer['difference'])} of the distance that they moved "
        f"(tolerance {number(optimizer['tolerance'])}).",
    ]


def repeat_table(trajectory: Mapping[str, Any]) -> PageTable:
    repeats = trajectory["repeats"]
    rows = []
    for label, row in repeats.items():
        same = "identical to the last bit" if row["identical"] else "different"
        rows.append([display_name(label), same, " / ".join(row["digests"])])
    marked = [n for n, row in enumerate(repeats.values()) if not row["identical"]]
    return PageTable(["backend", f"weights after {trajectory['updates']} updates", "digests"], rows, marked)


def update_table(trajectory: Mapping[str, Any]) -> PageTable:
    labels, reordered = trajectory["labels"], list(trajectory["reordered"].values())
    header = ["update", *(f"loss, {display_name(label)}" for label in labels), "difference of the weights"]
    header += ["other rounding, smallest", "other rounding, largest"]
    rows = []
    for update in range(1, trajectory["updates"] + 1):
        losses = [f"{trajectory['losses'][label][update - 1]:.6f}" for label in labels]
        distances = [values[update] for values in reordered]
        cells = [trajectory["between"][update], min(distances), max(distances)]
        rows.append([str(update), *losses, *map(number, cells)])
    return PageTable(header, rows)
