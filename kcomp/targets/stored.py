"""Restore a target from the JSON file `manifest.json` of a run."""

from collections.abc import Mapping
from typing import Any

from kcomp.targets.any_of import AnyOf
from kcomp.targets.arrays import as_tuples
from kcomp.targets.base import Target
from kcomp.targets.grades import Grades
from kcomp.targets.numbers import Numbers
from kcomp.targets.one_of import OneOf

KINDS: dict[str, type[Target]] = {kind.name: kind for kind in (OneOf, AnyOf, Numbers, Grades)}


def target_from_json(stored: Mapping[str, Any]) -> Target:
    """Return the target that `Target.to_json` converted to a dict.

    Args:
        stored: The dict. Its entry `target` is the name of the kind of target. The other entries are the target's
            fields.

    Raises:
        ValueError: If the kind is unknown, or the fields do not belong to this kind.

    Examples:
        >>> from kcomp.targets import AnyOf, target_from_json
        >>> target = AnyOf(("rust", "scab"))
        >>> target_from_json(target.to_json()) == target
        True
    """
    name = stored.get("target")
    if name not in KINDS:
        raise ValueError(f"a target must be one of {', '.join(map(repr, KINDS))}; received {name!r}")
    fields = {field: as_tuples(value) for field, value in stored.items() if field != "target"}
    try:
        return KINDS[name](**fields)
    except TypeError as error:
        raise ValueError(f"these are not the fields of a target {name!r}: {', '.join(fields)}") from error
