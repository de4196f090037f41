"""Targets: what is predicted for each image. It is a class, several labels, numbers or a grade. Each has a default
loss.
"""

from kcomp.targets.any_of import AnyOf
from kcomp.targets.base import Target
from kcomp.targets.grades import Grades
from kcomp.targets.numbers import Numbers
from kcomp.targets.one_of import OneOf
from kcomp.targets.stored import target_from_json

__all__ = ["AnyOf", "Grades", "Numbers", "OneOf", "Target", "target_from_json"]
