"""Assign the rows of a table to folds, and split a table into rows to train on and rows to hold out."""

from kcomp.data.splits.by_column import folds_from, time_folds, time_holdout
from kcomp.data.splits.cut import folds, holdout, stratified_folds
from kcomp.data.splits.split import check_fold, fold_numbers, repeat_of, split

__all__ = [
    "check_fold",
    "fold_numbers",
    "folds",
    "folds_from",
    "holdout",
    "repeat_of",
    "split",
    "stratified_folds",
    "time_folds",
    "time_holdout",
]
