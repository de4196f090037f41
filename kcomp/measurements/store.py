"""Cache the measurements of images on disk, in one file of limited size for all processes."""

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kcomp.measurements.facts import ImageFacts

ROWS = 500_000  # measurements in the file, about 300 MB; older ones are removed
VARIABLES = 500  # how many keys a query has; SQLite allows 999
WAIT = 10.0  # seconds to wait for another process that writes
NAMES = [field.name for field in dataclasses.fields(ImageFacts)]


class StoredFacts:
    """An SQLite file with the measurements of images. Each image has a key.

    Several processes may use the file at once. Errors while reading and writing are ignored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, keys: Sequence[str]) -> dict[str, ImageFacts]:
        """Return the stored measurements by key, without keys that are not in the file."""

        def select(connection: sqlite3.Connection) -> None:
            for start in range(0, len(keys), VARIABLES):
                part = keys[start : start + VARIABLES]
                marks = ",".join("?" * len(part))
                rows.extend(connection.execute(f"SELECT key, content FROM facts WHERE key IN ({marks})", part))

        rows: list[tuple[str, bytes]] = []
        self._connected(select)
        facts = {key: as_facts(content) for key, content in rows}
        return {key: image for key, image in facts.items() if image is not None}

    def add(self, facts: Mapping[str, ImageFacts]) -> None:
        """Store measurements. If the file then has too many, remove the oldest ones."""

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO facts (key, content) VALUES (?, ?)", rows)
            connection.execute("DELETE FROM facts WHERE number <= (SELECT max(number) FROM facts) - ?", (ROWS,))
            connection.commit()

        rows = [(key, as_bytes(image)) for key, image in facts.items()]
        if rows:
            self._connected(insert)

    def _connected(self, action: Callable[[sqlite3.Connection], None]) -> None:
        """Call `action` with a connection to the file. Errors of the disk and of SQLite are ignored."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=WAIT)) as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS facts (number INTEGER PRIMARY KEY, key TEXT UNIQUE, content BLOB)"
                )
                action(connection)
        except OSError:
            return
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # a damaged file, not a full disk or a lock
                self._remove()

    def _remove(self) -> None:
        for path in (self.path.with_name(f"{self.path.name}-journal"), self.path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def as_bytes(image: ImageFacts) -> bytes:
    return json.dumps([getattr(image, name) for name in NAMES]).encode()


def as_facts(content: bytes) -> ImageFacts | None:
    """Convert the bytes of `as_bytes` back to measurements. Return None for other bytes."""
    try:
        values = dict(zip(NAMES, json.loads(content), strict=True))
        return ImageFacts(**values | {"hashes": tuple(values["hashes"])})
    except (ValueError, TypeError):
        return None
