"""Read tables of images, choose folds, decode images and make batches."""

from kcomp.data.batches import Batches
from kcomp.data.boxes import Box
from kcomp.data.datasets import read_tfds
from kcomp.data.digits import sklearn_digits
from kcomp.data.folders import read_folders, read_images
from kcomp.data.images import Images
from kcomp.data.items import average_items
from kcomp.data.pseudo import with_pseudo
from kcomp.data.readers import read_csv, read_test
from kcomp.data.splits import folds, folds_from, holdout, split, stratified_folds, time_folds, time_holdout
from kcomp.data.tables import Table

__all__ = [
    "Batches",
    "Box",
    "Images",
    "Table",
    "average_items",
    "folds",
    "folds_from",
    "holdout",
    "read_csv",
    "read_folders",
    "read_images",
    "read_test",
    "read_tfds",
    "sklearn_digits",
    "split",
    "stratified_folds",
    "time_folds",
    "time_holdout",
    "with_pseudo",
]
