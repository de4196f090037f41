"""Tables of TensorFlow Datasets, read without TensorFlow where their files are array records (or Parquet)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from kcomp.data.tables import Table


@dataclass(frozen=True)
class StoredImage:
    """The image of one record: called, it reads the record and returns encoded bytes or a uint8 array.

    `origin` says which split of which preparation of a data set the records are, None where that is unknown.
    """

    source: Sequence[dict[str, Any]]
    position: int
    feature: str
    origin: str | None

    @property
    def identity(self) -> str | None:
        """What `Images` knows a decoded image by."""
        return None if self.origin is None else f"{self.origin} {self.feature} {self.position}"

    def __call__(self) -> bytes | np.ndarray:
        return self.source[self.position][self.feature]


def read_tfds(
    name: str,
    split: str,
    *,
    image: str = "image",
    label: str | None = "label",
    image_id: str | None = None,
    data_dir: str | Path | None = None,
) -> Table:
    """Read a split of a prepared TensorFlow data set; pixels are read and decoded later, batch by batch.

    `name` and `split` are those of `tfds.data_source`, such as "beans:0.1.0" and "train[:80%]"; `data_dir` is where
    the data set was prepared, by default TFDS's own folder. `image` names an Image or a uint8 Tensor feature, `label` a
    ClassLabel feature (all its names are the classes, sorted) or is None for unlabelled rows, and `image_id` a text
    or integer feature; without one ids are "train-000000" and so on, in the order of the records. Labels and ids are
    taken in one pass over the split. Raises ModuleNotFoundError without the extra kcomp[tfds], FileNotFoundError
    where the data set is not prepared, and ValueError for a name, split, feature or file format that does not serve.
    """
    tfds = import_tfds()
    builder = prepared(tfds, name, data_dir)
    check_features(tfds, name, builder.info.features, image=image, label=label, image_id=image_id)
    source = open_split(tfds, name, builder, split)
    if not len(source):
        raise ValueError(f"the split {split!r} of {name} has no rows")
    wanted = [feature for feature in (image_id, label) if feature is not None]
    kept = [[record[feature] for feature in wanted] for record in source]
    ids = [as_text(row[0]) for row in kept] if image_id else [f"{split}-{row:06d}" for row in range(len(source))]
    frame = pd.DataFrame({"image_id": ids}, dtype=object)
    origin = origin_of(builder, split)
    frame["image"] = pd.Series([StoredImage(source, row, image, origin) for row in range(len(source))], dtype=object)
    return Table(frame) if label is None else with_labels(frame, kept, builder.info.features[label].names)


def with_labels(frame: pd.DataFrame, kept: Sequence[Sequence[Any]], names: Sequence[str]) -> Table:
    """A table whose labels are the last value of each kept row, a position in `names`; a class without rows stays."""
    truth = np.array([int(row[-1]) for row in kept])
    if (truth < 0).any():  # so TFDS marks the rows of a test split whose labels are secret
        raise ValueError(f"{int((truth < 0).sum())} of {len(truth)} rows have no label; read them with label=None")
    classes = tuple(sorted(names))
    labels = pd.DataFrame({name: (truth == names.index(name)).astype(np.float32) for name in classes})
    return Table(pd.concat([frame, labels], axis=1), classes)


def import_tfds() -> ModuleType:
    try:
        import array_record  # noqa: F401  # TFDS imports it only when it reads
        import tensorflow_datasets
    except ImportError as error:
        raise ModuleNotFoundError(
            f"read_tfds needs tensorflow-datasets and array-record ({error}); run: pip install 'kcomp[tfds]'"
        ) from error
    return tensorflow_datasets


def prepared(tfds: ModuleType, name: str, data_dir: str | Path | None) -> Any:
    """The builder of a data set whose files are there."""
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else str(data_dir))
    except (ValueError, AssertionError) as error:  # the second for a version that is not there; a list of all follows
        where = data_dir or "TFDS's own folder"
        raise ValueError(f"there is no data set {name!r} in {where}: {str(error).splitlines()[0]}") from error
    if not builder.is_prepared():
        raise FileNotFoundError(f"the data set {name} is not prepared at {builder.data_dir}; {how_to_prepare(name)}")
    return builder


def origin_of(builder: Any, split: str) -> str | None:
    """A text that changes when a data set is prepared again, though its name, version and folder stay; None where its
    files are not on this machine's disks."""
    try:
        status = Path(builder.data_dir, "dataset_info.json").stat()
    except OSError:
        return None
    return f"tfds {status.st_size} {status.st_mtime_ns} {builder.data_dir} {split}"


def how_to_prepare(name: str) -> str:
    return f"run: tfds.builder({name!r}, data_dir=..., file_format='array_record').download_and_prepare()"


def open_split(tfds: ModuleType, name: str, builder: Any, split: str) -> Sequence[dict[str, Any]]:
    """The records of a split, with images left encoded."""
    pictures = [key for key, feature in builder.info.features.items() if isinstance(feature, tfds.features.Image)]
    try:
        return builder.as_data_source(split, decoders={key: tfds.decode.SkipDecoding() for key in pictures})
    except NotImplementedError as error:
        stored = builder.info.file_format.value
        raise ValueError(
            f"the files of {name} at {builder.data_dir} are {stored}, which only TensorFlow reads; read_tfds takes "
            f"array_record and parquet. In another folder, {how_to_prepare(name)}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{split!r} is no split of {name}; it has {sorted(builder.info.splits)} and slices such as 'train[:80%]'"
        ) from error


def check_features(
    tfds: ModuleType, name: str, features: Any, *, image: str, label: str | None, image_id: str | None
) -> None:
    for wanted in (image, label, image_id):
        if wanted is not None and wanted not in features:
            raise ValueError(f"{name} has no feature {wanted!r}; it has {sorted(features)}")
    found = features[image]
    pixels = isinstance(found, tfds.features.Tensor) and found.np_dtype == np.uint8 and len(found.shape) in (2, 3)
    if not pixels and not isinstance(found, tfds.features.Image):
        raise ValueError(f"`image` must name an Image or a uint8 Tensor feature; {image!r} of {name} is {found}")
    if label is not None and not isinstance(features[label], tfds.features.ClassLabel):
        raise ValueError(f"`label` must name a ClassLabel feature; {label!r} of {name} is {features[label]}")
    if image_id is not None and features[image_id].shape != ():
        raise ValueError(
            f"`image_id` must name one text or number a row; {image_id!r} of {name} is {features[image_id]}"
        )


def as_text(value: Any) -> str:
    """An id as TFDS gives it, bytes or a number."""
    return value.decode() if isinstance(value, bytes) else str(value)
