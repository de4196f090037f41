"""Read TensorFlow Datasets as tables, without TensorFlow. The files must be array records or Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from kcomp.data.tables import Table
from kcomp.targets import OneOf


@dataclass(frozen=True)
class StoredImage:
    """The image of one record of a TensorFlow data set. A call returns encoded bytes or a uint8 array.

    Attributes:
        source: The records, in order.
        position: The position of the record in `source`.
        feature: The name of the feature that contains the image.
        origin: A text that identifies the files of the prepared data set, and the split. None if the files are unknown.
    """

    source: Sequence[dict[str, Any]]
    position: int
    feature: str
    origin: str | None

    @property
    def identity(self) -> str | None:
        """The text that identifies the image in the cache of decoded images. None if the image is not cached."""
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
    """Read a split of a prepared TensorFlow data set.

    Labels and ids are read in one pass. Pixels are read and decoded later, batch by batch.

    Args:
        name: A data set of `tfds.data_source`, such as "beans:0.1.0".
        split: A split of `tfds.data_source`, such as "train[:80%]".
        image: The name of an Image feature, or of a uint8 Tensor feature.
        label: The name of a ClassLabel feature, whose names become the classes, sorted. None for unlabelled rows.
        image_id: The name of a text or integer feature. None makes the ids "train-000000" and so on, in record order.
        data_dir: The folder in which the data set was prepared. None for TFDS's default folder.

    Returns:
        The rows in record order.

    Raises:
        ModuleNotFoundError: If the extra kcomp[tfds] is not installed.
        FileNotFoundError: If the data set is not prepared.
        ValueError: If there is no such data set, split or feature, or only TensorFlow can read its file format.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import tensorflow_datasets as tfds
        >>> from kcomp import data
        >>> class Dots(tfds.core.GeneratorBasedBuilder):
        ...     VERSION = tfds.core.Version("1.0.0")
        ...     def _info(self):
        ...         features = {"image": tfds.features.Tensor(shape=(8, 8, 3), dtype=np.uint8),
        ...                     "label": tfds.features.ClassLabel(names=["dark", "light"])}
        ...         return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
        ...     def _split_generators(self, download_manager):
        ...         return {"train": self._generate_examples()}
        ...     def _generate_examples(self):
        ...         yield 0, {"image": np.zeros((8, 8, 3), np.uint8), "label": "dark"}
        ...         yield 1, {"image": np.full((8, 8, 3), 255, np.uint8), "label": "light"}
        >>> folder = tempfile.mkdtemp()
        >>> Dots(data_dir=folder, file_format="array_record").download_and_prepare()
        Downloading and preparing dataset ...
        >>> data.read_tfds("dots", "train", data_dir=folder).columns
        ('dark', 'light')
    """
    tfds = import_tfds()
    builder = prepared_builder(tfds, name, data_dir)
    check_features(tfds, name, builder.info.features, image=image, label=label, image_id=image_id)
    source = open_split(tfds, name, builder, split)
    if not len(source):
        raise ValueError(f"the split {split!r} of {name} has no rows")
    features = [feature for feature in (image_id, label) if feature is not None]
    values = [[record[feature] for feature in features] for record in source]
    ids = [as_text(row[0]) for row in values] if image_id else [f"{split}-{row:06d}" for row in range(len(source))]
    frame = pd.DataFrame({"image_id": ids}, dtype=object)
    origin = origin_of(builder, split)
    frame["image"] = pd.Series([StoredImage(source, row, image, origin) for row in range(len(source))], dtype=object)
    if label is None:
        return Table(frame)
    return with_labels(frame, [int(row[-1]) for row in values], builder.info.features[label].names)


def with_labels(frame: pd.DataFrame, numbers: Sequence[int], names: Sequence[str]) -> Table:
    """Return the rows of `frame` as a labelled table with one column for each class.

    Args:
        frame: The rows.
        numbers: The position of each row's class in `names`. -1 raises ValueError.
        names: All classes.
    """
    label_numbers = np.array(numbers)
    missing = int((label_numbers < 0).sum())  # TFDS marks secret labels of a test split as -1
    if missing:
        raise ValueError(f"{missing} of {len(numbers)} rows have no label; read them with label=None")
    classes = tuple(sorted(names))
    labels = pd.DataFrame({name: (label_numbers == names.index(name)).astype(np.float32) for name in classes})
    return Table(pd.concat([frame, labels], axis=1), OneOf(classes))


def import_tfds() -> ModuleType:
    try:
        import array_record  # noqa: F401  # TFDS imports it only when it reads
        import tensorflow_datasets
    except ImportError as error:
        raise ModuleNotFoundError(
            f"read_tfds needs tensorflow-datasets and array-record ({error}); run: pip install 'kcomp[tfds]'"
        ) from error
    return tensorflow_datasets


def prepared_builder(tfds: ModuleType, name: str, data_dir: str | Path | None) -> Any:
    """Return the TFDS builder of a data set whose files are already prepared.

    Raises:
        FileNotFoundError: If the files are not prepared.
        ValueError: If there is no such data set.
    """
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else str(data_dir))
    except (ValueError, AssertionError) as error:  # AssertionError for an unknown version
        where = data_dir or "TFDS's own folder"
        raise ValueError(f"there is no data set {name!r} in {where}: {str(error).splitlines()[0]}") from error
    if not builder.is_prepared():
        raise FileNotFoundError(f"the data set {name} is not prepared at {builder.data_dir}; {how_to_prepare(name)}")
    return builder


def origin_of(builder: Any, split: str) -> str | None:
    """Return a text that changes when a split is prepared again. None if its files are not on a local disk."""
    try:
        status = Path(builder.data_dir, "dataset_info.json").stat()
    except OSError:
        return None
    return f"tfds {status.st_size} {status.st_mtime_ns} {builder.data_dir} {split}"


def how_to_prepare(name: str) -> str:
    return f"run: tfds.builder({name!r}, data_dir=..., file_format='array_record').download_and_prepare()"


def open_split(tfds: ModuleType, name: str, builder: Any, split: str) -> Sequence[dict[str, Any]]:
    """Return the records of a split as a sequence of dicts. Images stay encoded bytes.

    Raises:
        ValueError: If only TensorFlow can read the file format, or there is no such split.
    """
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
    for feature_name in (image, label, image_id):
        if feature_name is not None and feature_name not in features:
            raise ValueError(f"{name} has no feature {feature_name!r}; it has {sorted(features)}")
    feature = features[image]
    is_pixels = isinstance(feature, tfds.features.Tensor) and feature.np_dtype == np.uint8
    is_pixels = is_pixels and len(feature.shape) in (2, 3)
    if not is_pixels and not isinstance(feature, tfds.features.Image):
        raise ValueError(f"`image` must name an Image or a uint8 Tensor feature; {image!r} of {name} is {feature}")
    if label is not None and not isinstance(features[label], tfds.features.ClassLabel):
        raise ValueError(f"`label` must name a ClassLabel feature; {label!r} of {name} is {features[label]}")
    if image_id is not None and features[image_id].shape != ():
        raise ValueError(
            f"`image_id` must name one text or number a row; {image_id!r} of {name} is {features[image_id]}"
        )


def as_text(value: Any) -> str:
    """Convert an id to text. TFDS stores ids as bytes or as numbers."""
    return value.decode() if isinstance(value, bytes) else str(value)
