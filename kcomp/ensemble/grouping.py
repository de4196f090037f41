"""Members that differ in one thing only: a seed, a backend, values of the recipe, the network; or the folds of one."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcomp.ensemble.blending import Member
from kcomp.runs.folder import Run
from kcomp.system.backends import BACKENDS
from kcomp.system.files import read_json
from kcomp.values import as_text

FACTORS = ("seed", "fold", "value", "model", "backend")
NONE = {
    "seed": "no two members have one recipe, unchanged, and one backend, and other seeds",
    "fold": "no member has runs of several folds",
    "value": "no two members have one recipe's source, one backend and one seed, and other values",
    "model": "no two members have one backend and one seed, and other recipes or networks",
    "backend": "no two members have one recipe, unchanged, and one seed, and other backends",
}


@dataclass(frozen=True)
class Group:
    """Members (their places) that share all that `name` says and differ in their `kind` as `levels` says.

    A group of the kind `fold` is one member with several runs; `single` is a member by itself.
    """

    kind: str
    name: str
    levels: str
    members: tuple[int, ...]


def groups(found: Sequence[Member], kind: str) -> list[Group]:
    """The groups of this kind with at least two members, for `fold` two runs; sorted by name."""
    if kind == "fold":
        return [one for one in singles(found, "fold") if len(found[one.members[0]].runs) > 1]
    shared, told = KINDS[kind](found)
    places: dict[tuple[Any, ...], list[int]] = {}
    for place in range(len(found)):
        places.setdefault(shared[place], []).append(place)
    made = {key: group for key, group in places.items() if len(group) > 1}
    names = {key: " ".join(str(part) for part in key[:-1]) for key in made}
    made_groups = [
        Group(kind, unique(names, key), told([found[place] for place in group]), tuple(group))
        for key, group in made.items()
    ]
    return sorted((one for one in made_groups if one.levels), key=lambda group: group.name)


def singles(found: Sequence[Member], kind: str = "single") -> list[Group]:
    """Each member by itself."""
    return [
        Group(kind, member.name, ",".join(str(run.manifest["fold"]) for run in member.runs), (place,))
        for place, member in enumerate(found)
    ]


def unique(names: Mapping[tuple[Any, ...], str], key: tuple[Any, ...]) -> str:
    """The name of a key, with its last part, a hash, where another has that name too."""
    return names[key] if list(names.values()).count(names[key]) == 1 else f"{names[key]} {key[-1][:8]}"


Told = Callable[[list[Member]], str]
Kind = tuple[list[tuple[Any, ...]], Told]  # of each member what its group shares, a hash last; how levels are named


def by_seed(found: Sequence[Member]) -> Kind:
    shared = [(member.recipe, member.fingerprint, member.backend, "") for member in found]
    return shared, lambda group: ",".join(str(member.seed) for member in group)


def by_backend(found: Sequence[Member]) -> Kind:
    """Of one fingerprint and seed; what is of no framework alone, such as a soup, has a group of its own."""
    shared = [
        (member.recipe, member.fingerprint, f"seed {member.seed}", "" if member.backend in BACKENDS else member.backend)
        for member in found
    ]
    return shared, lambda group: ",".join(member.backend for member in group)


def by_value(found: Sequence[Member]) -> Kind:
    """Of one recipe's source, with other values."""
    shared = [(member.recipe, member.backend, f"seed {member.seed}", source_of(member.runs[0])) for member in found]
    return shared, lambda group: values_told([values_of(member.runs[0]) for member in group])


def by_model(found: Sequence[Member]) -> Kind:
    """Of one backend and seed, whatever the recipes and their values; empty where all have one recipe and network."""
    networks = {member.name: network_of(member.runs[0]) for member in found}

    def told(group: list[Member]) -> str:
        levels = [(member.recipe, *networks[member.name]) for member in group]
        if len(set(levels)) == 1:
            return ""
        names = {
            level: level[0] if one_network(levels, level) else f"{level[0]} of {level[1]:,} weights" for level in levels
        }
        counts = {level: levels.count(level) for level in levels}
        return ", ".join(names[level] + (f" x{count}" if count > 1 else "") for level, count in counts.items())

    return [(member.backend, f"seed {member.seed}", "") for member in found], told


def one_network(levels: Sequence[tuple[Any, ...]], level: tuple[Any, ...]) -> bool:
    return len({other for other in levels if other[0] == level[0]}) == 1


KINDS: dict[str, Callable[[Sequence[Member]], Kind]] = {
    "seed": by_seed,
    "backend": by_backend,
    "value": by_value,
    "model": by_model,
}


def source_of(run: Run) -> str:
    """A hash of the recipe's files as the run keeps them, and of kcomp's version."""
    found = hashlib.sha256(str(run.manifest.get("versions", {}).get("kcomp")).encode())
    for path in sorted((run / "recipe").glob("*.py")):
        found.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return found.hexdigest()


def values_of(run: Run) -> dict[str, Any]:
    return read_json(run / "config.json")


def values_told(values: Sequence[Mapping[str, Any]]) -> str:
    """The values that differ, for each member: `rate=0.1; rate=0.2`; empty where none does."""
    names = [name for name in sorted({name for one in values for name in one}) if differs(name, values)]
    return "; ".join(" ".join(f"{name}={as_text(one.get(name))}" for name in names) for one in values) if names else ""


def differs(name: str, values: Sequence[Mapping[str, Any]]) -> bool:
    return any(one.get(name) != values[0].get(name) for one in values)


def network_of(run: Run) -> tuple[int, str]:
    """The number of a run's weights, and a hash of their names and shapes: what tells networks apart."""
    import h5py

    path = run / "best.weights.h5"
    if not path.is_file():
        raise FileNotFoundError(f"{run.folder} has no best.weights.h5, which says what network it has")
    found: list[tuple[str, tuple[int, ...], int]] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item.shape, int(item.size)))

    with h5py.File(path) as file:
        file.visititems(note)
    return sum(size for _, _, size in found), hashlib.sha256(repr(sorted(found)).encode()).hexdigest()
