"""Find members of an ensemble that differ in one respect only: seed, fold, recipe values, network or backend."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcomp.ensembles.members import Member
from kcomp.runs.folder import Run
from kcomp.system.backends import BACKENDS
from kcomp.system.files import read_json
from kcomp.values import as_text

KINDS = ("seed", "fold", "value", "model", "backend")
NO_GROUP = {  # for each kind, the reason if there is no group
    "seed": "no two members have the same recipe, values and backend, and different seeds",
    "fold": "no member has runs of several folds",
    "value": "no two members have the same recipe source, backend and seed, and different values",
    "model": "no two members have the same backend and seed, and different recipes or networks",
    "backend": "no two members have the same recipe, values and seed, and different backends",
}


@dataclass(frozen=True)
class Group:
    """Members of an ensemble that differ in one respect only. A member is a model with a run for each fold.

    Attributes:
        kind: In what they differ: "seed", "fold", "value" (of the recipe), "model" or "backend". A group "fold" is one
            member whose runs differ in the fold. "single" is one member by itself.
        name: The settings that the members have in common.
        levels: What differs, as text, such as the seeds "0,1,2".
        members: Positions of the members in the list of all members.
    """

    kind: str
    name: str
    levels: str
    members: tuple[int, ...]


def find_groups(members: Sequence[Member], kind: str) -> list[Group]:
    """Return all groups of a kind that have at least two members, sorted by name.

    A group of kind "fold" is one member with at least two runs.
    """
    if kind == "fold":
        return [group for group in single_groups(members, "fold") if len(members[group.members[0]].runs) > 1]
    shared, name_levels = GROUPINGS[kind](members)
    places: dict[tuple[Any, ...], list[int]] = {}
    for place in range(len(members)):
        places.setdefault(shared[place], []).append(place)
    several = {key: group for key, group in places.items() if len(group) > 1}
    names = {key: " ".join(str(part) for part in key[:-1]) for key in several}
    groups = [
        Group(kind, unique_name(names, key), name_levels([members[place] for place in group]), tuple(group))
        for key, group in several.items()
    ]
    return sorted((group for group in groups if group.levels), key=lambda group: group.name)


def single_groups(members: Sequence[Member], kind: str = "single") -> list[Group]:
    return [
        Group(kind, member.name, ",".join(str(run.manifest["fold"]) for run in member.runs), (place,))
        for place, member in enumerate(members)
    ]


def unique_name(names: Mapping[tuple[Any, ...], str], key: tuple[Any, ...]) -> str:
    """Return the name of the group `key`. If another group has this name, the start of the key's hash is appended.

    Args:
        names: The name of each group, by its key. The last element of a key is the hash.
        key: The key of the group.
    """
    return names[key] if list(names.values()).count(names[key]) == 1 else f"{names[key]} {key[-1][:8]}"


NameLevels = Callable[[list[Member]], str]
# Two things: the key of each member's group, which ends with a hash, and a function that returns a group's `levels`.
Grouping = tuple[list[tuple[Any, ...]], NameLevels]


def by_seed(members: Sequence[Member]) -> Grouping:
    shared = [(member.recipe, member.fingerprint, member.backend, *repeat_name(member), "") for member in members]
    return shared, lambda group: ",".join(str(member.seed) for member in group)


def repeat_name(member: Member) -> list[str]:
    return [f"repeat {member.repeat}"] if member.repeat else []


def by_backend(members: Sequence[Member]) -> Grouping:
    """Return a grouping of members that differ only in the backend: recipe, recipe values and seed are equal.

    A member that both frameworks trained, such as an average of their weights, forms no group.
    """
    shared = [
        (member.recipe, member.fingerprint, member.draw, "" if member.backend in BACKENDS else member.backend)
        for member in members
    ]
    return shared, lambda group: ",".join(member.backend for member in group)


def by_value(members: Sequence[Member]) -> Grouping:
    """Return a grouping of members that differ only in recipe values: recipe files, backend and seed are equal."""
    shared = [(member.recipe, member.backend, member.draw, source_of(member.runs[0])) for member in members]
    return shared, lambda group: name_values([values_of(member.runs[0]) for member in group])


def by_model(members: Sequence[Member]) -> Grouping:
    """Return a grouping of members that differ in the recipe or the network: backend and seed are equal.

    Members that differ only in recipe values form no group: their `levels` are "", and `find_groups` drops them.
    """
    networks = {member.name: network_of(member.runs[0]) for member in members}

    def name_levels(group: list[Member]) -> str:
        levels = [(member.recipe, *networks[member.name]) for member in group]
        if len(set(levels)) == 1:
            return ""
        names = {
            level: level[0] if has_one_network(levels, level) else f"{level[0]} of {level[1]:,} weights"
            for level in levels
        }
        counts = {level: levels.count(level) for level in levels}
        return ", ".join(names[level] + (f" x{count}" if count > 1 else "") for level, count in counts.items())

    return [(member.backend, member.draw, "") for member in members], name_levels


def has_one_network(levels: Sequence[tuple[Any, ...]], level: tuple[Any, ...]) -> bool:
    return len({other for other in levels if other[0] == level[0]}) == 1


GROUPINGS: dict[str, Callable[[Sequence[Member]], Grouping]] = {
    "seed": by_seed,
    "backend": by_backend,
    "value": by_value,
    "model": by_model,
}


def source_of(run: Run) -> str:
    """Return a hash of the recipe files in the run folder and of the kcomp code that trained the run."""
    digest = hashlib.sha256(str(run.manifest.get("code")).encode())
    for path in sorted((run / "recipe").glob("*.py")):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def values_of(run: Run) -> dict[str, Any]:
    return read_json(run / "config.json")


def name_values(values: Sequence[Mapping[str, Any]]) -> str:
    """Return the recipe values that differ between members as text, such as "rate=0.1; rate=0.2".

    The text is empty if no value differs.
    """
    names = [name for name in sorted({name for config in values for name in config}) if differs(name, values)]
    return (
        "; ".join(" ".join(f"{name}={as_text(config.get(name))}" for name in names) for config in values)
        if names
        else ""
    )


def differs(name: str, values: Sequence[Mapping[str, Any]]) -> bool:
    return any(config.get(name) != values[0].get(name) for config in values)


def network_of(run: Run) -> tuple[int, str]:
    """Return two things that identify a run's network: its number of weights, and a hash of their names and shapes."""
    import h5py

    path = run / "best.weights.h5"
    if not path.is_file():
        raise FileNotFoundError(f"{run.folder} has no best.weights.h5, which --group-by model compares")
    variables: list[tuple[str, tuple[int, ...], int]] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            variables.append((name, item.shape, int(item.size)))

    with h5py.File(path) as file:
        file.visititems(note)
    return sum(size for _, _, size in variables), hashlib.sha256(repr(sorted(variables)).encode()).hexdigest()
