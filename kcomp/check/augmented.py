"""Show the images and labels that the network gets: original, augmented and mixed.

They are the first batch of a training with seed 0 that holds out the first fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.label_text import label_text
from kcomp.data.batches import Batches
from kcomp.data.splits import fold_numbers, split
from kcomp.data.tables import Table
from kcomp.experiment.build import build_batches, build_stages
from kcomp.recipe import Recipe, Stage
from kcomp.report.finding import Finding, messages
from kcomp.report.page import PageTable, Picture, Section
from kcomp.report.part import Part
from kcomp.report.text import quantity
from kcomp.report.thumbnail import thumbnail
from kcomp.system.errors import located_line
from kcomp.targets import Target

TITLE = "What the network is fed"
IMAGES = 6  # how many images are shown
EPOCHS = 3  # how many augmentations of each image are shown
CONSTANT = 0.05  # the share of constant images that is a warning: with this share, a batch of 32 has at least one


@dataclass(frozen=True)
class FirstBatch:
    """The first batch of a training, before and after augmentation and mixing.

    The images that the page shows (the shown images) come before the other images of the batch.

    Attributes:
        rows: The table row of each image, int (images,).
        originals: The shown images, decoded and resized, each (height, width, channels). Their sizes may differ.
        augmented: The augmented images of each of the first epochs, (images, height, width, channels). The first array
            has all images of the batch. The other arrays have only the shown images.
        mixed: The images of the first epoch after mixing, float32 (images, height, width, channels). The network gets
            these.
        labels: The labels of the table, (images, columns).
        mixed_labels: The labels of the first epoch after mixing, (images, columns). The loss gets these.
        is_mixed: Whether mixing changed the image or its label, bool (images,).
    """

    rows: np.ndarray
    originals: Sequence[np.ndarray]
    augmented: Sequence[np.ndarray]
    mixed: np.ndarray
    labels: np.ndarray
    mixed_labels: np.ndarray
    is_mixed: np.ndarray


def check_augmented(recipe: Recipe, data_set: DataSet) -> Part:
    table = data_set.table.rows(data_set.facts.readable & (data_set.facts.problem == ""))
    try:
        rows, _ = split(table, fold_numbers(data_set.table)[0])
        batches = build_batches(recipe, rows, training=True, seed=0)
        batch = load_first_batch(batches)
        stages = build_stages(recipe, rows.required_target.fitted(rows.labels))
        notes = [note for stage in stages if (note := stage_note(stage, batches))]
    except Exception as error:  # noqa: BLE001  (recipes are programs and may raise any type)
        text = f"the recipe cannot make batches: {located_line(error)}"
        section = Section(TITLE, f"{text[0].upper()}{text[1:]}.", good=False)
        return Part("augmented", section, {"failed": text}, (Finding("augmentation", "error", text),))
    target, ids = rows.required_target, [batches.table.ids[row] for row in batch.rows]  # a recipe may add rows
    findings = [*constant_images(batch, ids), *wrong_range(batch), *wrong_labels(batch, target, ids)]
    height, width, channels = batch.mixed.shape[1:]
    shape = f"images of {height} x {width} pixels with {quantity(channels, 'channel')}"
    verdict = f"The network gets {shape} and values from {batch.mixed.min():.4g} to {batch.mixed.max():.4g}."
    section = Section(
        TITLE,
        f"{verdict} {messages(findings)}".strip(),
        good=not any(finding.severity != "note" for finding in findings),
        paragraphs=[EXPLANATION, *notes],
        tables=[("Values of the images of the first batch", range_table(batch))],
        galleries=galleries(batch, ids, target, mixing=any(stage.cache_views is None for stage in stages)),
    )
    numbers = {
        "image_shape": batch.mixed.shape[1:],
        "batch_size": batches.batch_size,
        "batches_per_epoch": len(batches),
        "lowest": batch.mixed.min(),
        "highest": batch.mixed.max(),
        "mixed_images": batch.is_mixed.sum(),
    }
    return Part("augmented", section, numbers, tuple(findings))


EXPLANATION = (
    "Each line below is one image: the original, how it is augmented in the first epochs, and what the network and the "
    "loss get in the first epoch. If a person cannot see the label in an augmented image, the network cannot learn it."
)


def load_first_batch(batches: Batches) -> FirstBatch:
    order = batches.order(0)[: batches.batch_size]
    batch = batches.load(0, 0)
    images, labels = mix_batch(batches.layers, batch)
    shown = choose_images(batches.table, order)
    later = [batches.assemble(order[shown], epoch)["images"] for epoch in range(1, EPOCHS)]
    first, plain = np.asarray(batch["images"]), batches.table.labels[order]
    changed = (images != first).any(axis=(1, 2, 3)) | rows_differ(labels, plain)
    # The images to show come first. The others of the batch are only measured.
    places = np.concatenate([shown, np.setdiff1d(np.arange(len(order)), shown)])
    sources = batches.table.images
    return FirstBatch(
        rows=order[places],
        originals=[batches.images.load(batches.table.ids[row], sources[row]) for row in order[shown]],
        augmented=[first[places], *map(np.asarray, later)],
        mixed=images[places],
        labels=plain[places],
        mixed_labels=labels[places],
        is_mixed=changed[places],
    )


def mix_batch(layers: Sequence[Any], batch: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (float32) and labels of a batch after mixing by `layers`, such as MixUp."""
    from keras import ops

    from kcomp.training.mixed import apply_plans, planned_layers

    tensors: dict[str, Any] = {
        name: ops.convert_to_tensor(batch[name]) for name in ("images", "labels", "mixed") if name in batch
    }
    mixed = apply_plans(planned_layers(layers), {**tensors, "plans": batch.get("plans", ())})
    return ops.convert_to_numpy(mixed["images"]), ops.convert_to_numpy(mixed["labels"])


def choose_images(table: Table, order: np.ndarray) -> np.ndarray:
    """Return sorted positions in the batch of at most `IMAGES` images, from as many classes as possible.

    `order` has the table row of each image of the batch.
    """
    strata = table.required_target.strata(table.labels[order])
    _, first = np.unique(strata, axis=0, return_index=True)
    others = np.setdiff1d(np.arange(len(order)), first)
    return np.sort(np.concatenate([np.sort(first), others])[:IMAGES])


def rows_differ(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return whether each row of `labels` differs from the same row of `others`, bool (rows,). NaN equals NaN."""
    if labels.shape != others.shape:
        return np.ones(len(labels), bool)
    different: np.ndarray = ~np.isclose(labels, others, equal_nan=True).all(1)
    return different


def stage_note(stage: Stage, batches: Batches) -> str:
    """Return a sentence if a stage trains on cached features instead of images, else ""."""
    from kcomp.training.frozen.batches import mixing_layers

    if stage.cache_views is None:
        return ""
    mixes = "mixes the features" if mixing_layers(stage, batches) else "mixes nothing"
    views = quantity(stage.cache_views, "augmentation")
    return f"Stage {stage.name!r} trains on cached features of {views} of each image, and {mixes}, not the images."


def constant_images(batch: FirstBatch, ids: Sequence[str]) -> list[Finding]:
    images = batch.augmented[0]
    constant = (images == images[:, :1, :1, :]).all(axis=(1, 2, 3))
    names = tuple(name for name, is_constant in zip(ids, constant, strict=True) if is_constant)
    if not names:
        return []
    severity: Any = "warning" if len(names) >= max(2, CONSTANT * len(ids)) else "note"
    message = f"{len(names)} of {len(ids)} augmented images have only one colour, so they show nothing"
    return [Finding("augmentation", severity, message, names, float(len(names)))]


def wrong_range(batch: FirstBatch) -> list[Finding]:
    low, high = float(batch.mixed.min()), float(batch.mixed.max())
    brightest = max(float(image.max()) for image in batch.originals)
    if not np.isfinite(batch.mixed).all():
        return [Finding("augmentation", "error", "augmented images contain NaN or infinity")]
    if low < -0.5 or high > 255.5 or (low < high <= 1 < brightest):
        message = f"augmented images have values from {low:.3g} to {high:.3g}; kcomp's networks expect 0 to 255"
        return [Finding("augmentation", "warning", message)]
    return []


def wrong_labels(batch: FirstBatch, target: Target, ids: Sequence[str]) -> list[Finding]:
    try:
        target.check_labels(batch.mixed_labels.astype(np.float64), ids)
    except (ValueError, IndexError) as error:
        return [Finding("augmentation", "error", f"labels are invalid after mixing: {error}")]
    return []


def range_table(batch: FirstBatch) -> PageTable:
    steps = [
        ("original", np.concatenate([image.ravel() for image in batch.originals])),
        ("augmented", batch.augmented[0]),
        ("as the network gets them", batch.mixed),
    ]
    rows = [
        (name, *(f"{value:.4g}" for value in (values.min(), values.max(), values.mean(), values.std())))
        for name, values in steps
    ]
    return PageTable(("step", "lowest", "highest", "mean", "standard deviation"), rows)


def galleries(
    batch: FirstBatch, ids: Sequence[str], target: Target, *, mixing: bool
) -> list[tuple[str, Sequence[Picture]]]:
    """Return the id and a gallery of each shown image: the original, its augmentations, and the mixed image.

    `mixing` says whether a stage mixes images. If not, the mixed images are left out.
    """
    lines: list[tuple[str, Sequence[Picture]]] = []
    for place, original in enumerate(batch.originals):
        pictures = [Picture(small_jpeg(original), ("original", label_text(target, batch.labels[place])))]
        for epoch, images in enumerate(batch.augmented):
            pictures.append(Picture(small_jpeg(images[place]), (f"augmented, epoch {epoch + 1}",)))
        if mixing and batch.is_mixed.any():
            text = "mixed, epoch 1" if batch.is_mixed[place] else "not mixed, epoch 1"
            label = label_text(target, batch.mixed_labels[place])
            pictures.append(Picture(small_jpeg(batch.mixed[place]), (text, label)))
        lines.append((ids[place], pictures))
    return lines


def small_jpeg(pixels: np.ndarray) -> bytes:
    """Return an image (height, width, channels) as a small JPEG file. Its values are clipped to 0..255.

    The file shows the first three channels, or only the first one of an image with one or two channels.
    """
    pixels = np.clip(np.nan_to_num(pixels), 0, 255).round().astype(np.uint8)
    return thumbnail(pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1])
