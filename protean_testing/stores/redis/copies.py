"""Write a durable copy of every key that was there before a run, for the run after one that was killed."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import ConfigurationError, UnsafeStoreError
from .values import Value, Values, parts

_HEAD = struct.Struct(">IQq")  # bytes of the name, bytes of the payload, expiry in ms since 1970 or -1
_MAGIC = b"protean_testing redis 1\n"


def write(path: Path, values: Values, names: Iterable[bytes]) -> None:
    """Write what these keys hold, whole or not at all, and have it on the disk before this returns.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    fresh = path.with_suffix(".copying")
    digest = hashlib.sha256()
    try:
        with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(_MAGIC)
            for some in parts(names):
                for name, value in values.read(some).items():
                    expiry = -1 if value.expiry is None else value.expiry
                    record = _HEAD.pack(len(name), len(value.payload), expiry) + name + value.payload
                    digest.update(record)
                    file.write(record)
            file.write(_HEAD.pack(0, 0, -2) + digest.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ConfigurationError(
            f"the keys that are there cannot be copied to {path.parent}: {error.strerror}. The copy brings "
            "them back if the tests are killed."
        ) from None


def read(path: Path) -> dict[bytes, Value]:
    """The copy; nothing if there is none.

    Raises:
        UnsafeStoreError: It is damaged.
    """
    if not path.exists():
        return {}
    found = dict(_records(path))
    return found


def _records(path: Path) -> Iterator[tuple[bytes, Value]]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                size, length, expiry = _HEAD.unpack(head)
                if expiry == -2:
                    if file.read(64) == digest.digest():
                        return
                    break
                name, payload = file.read(size), file.read(length)
                digest.update(head + name + payload)
                yield name, Value(payload, None if expiry == -1 else expiry)
    raise UnsafeStoreError(
        f"the copy of the keys that were there before a killed run is damaged: {path}\n"
        "Nothing was touched. Look at the database yourself, and remove that file."
    )
