"""The checksums by which migration tools know a migration again, computed as they compute them.

Each function gives every checksum under which the tool accepts a migration; None where it cannot be told.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditkit.history.migration import Migration

__all__ = ["atlas", "digest", "flyway", "liquibase", "postgres_migrations", "prisma", "refinery", "siphash13"]


def digest(algorithm: str) -> Callable[[Migration], frozenset[str]]:
    """The digest of the file's bytes, in hex (drizzle, sqlx, sqitch)."""
    return lambda migration: frozenset({hashlib.new(algorithm, migration.raw).hexdigest()})


def prisma(migration: Migration) -> frozenset[str]:
    """SHA-256 in hex, whatever the line ends; rows of old versions lack the leading zero of each byte."""
    unix = migration.raw.replace(b"\r\n", b"\n")
    contents = (migration.raw, unix, unix.replace(b"\n", b"\r\n"))
    digests = [hashlib.sha256(content).digest() for content in contents]
    return frozenset([d.hex() for d in digests] + ["".join(f"{byte:x}" for byte in d) for d in digests])


def flyway(migration: Migration) -> frozenset[str] | None:
    """One CRC32 over the lines without their ends, as a signed 32-bit number.

    Versioned migrations are taken as they are, repeatable ones after placeholders are replaced.
    """
    text = migration.raw.decode(errors="replace") if migration.version else migration.sql
    if text is None:
        return None
    crc = zlib.crc32("".join(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))).encode())
    return frozenset({str(crc - (1 << 32) if crc >= 1 << 31 else crc)})


def liquibase(migration: Migration) -> frozenset[str] | None:
    """Version 9 (Liquibase 4.22 and later): MD5 over the SQL without white space, once more over that.

    None for changesets that are not SQL, and for those whose file accepts any checksum.
    """
    from auditkit.history import formatted

    part = migration.raw.decode(errors="replace")
    accepted = formatted.accepted(part)
    if migration.sql is None or "any" in accepted:
        return None
    return frozenset({liquibase_9(formatted.body(part).split(formatted.NEXT)), *accepted})


def liquibase_9(changes: Iterable[str]) -> str:
    """The checksum of a changeset whose changes are these SQL texts."""
    inner = [_md5(re.sub(r"[ \t\r\n]", "", sql)) for sql in changes]
    return "9:" + _md5("".join(f"9:{one}:" for one in inner))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def postgres_migrations(migration: Migration) -> frozenset[str] | None:
    """SHA-1 over the file's name and its text."""
    if migration.sql is None:
        return None
    name = PurePosixPath(migration.path).name.encode()
    return frozenset({hashlib.sha1(name + migration.raw, usedforsecurity=False).hexdigest()})


def refinery(migration: Migration) -> frozenset[str] | None:
    """SipHash-1-3 with a zero key over name, version and SQL as Rust hashes them, in decimal.

    Strings are followed by the byte 0xFF, numbers are little-endian: 4 bytes, or 8 with the feature
    ``int8-versions``.
    """
    if migration.sql is None or not migration.version.isdecimal():
        return None
    sizes = (size for size in (4, 8) if int(migration.version) < 1 << 8 * size - 1)
    return frozenset(refinery_sized(migration, size) for size in sizes)


def refinery_sized(migration: Migration, size: int) -> str:
    """Refinery's checksum where versions have *size* bytes."""
    version = int(migration.version).to_bytes(size, "little")
    return str(siphash13(migration.name.encode() + b"\xff" + version + migration.raw + b"\xff"))


_MASK = (1 << 64) - 1


def siphash13(data: bytes) -> int:
    """SipHash with one round per word and three at the end, key zero, of Aumasson and Bernstein's paper."""
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]

    def rotated(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & _MASK

    def mix() -> None:
        v[0] = (v[0] + v[1]) & _MASK
        v[2] = (v[2] + v[3]) & _MASK
        v[1], v[3] = rotated(v[1], 13) ^ v[0], rotated(v[3], 16) ^ v[2]
        v[0] = rotated(v[0], 32)
        v[2] = (v[2] + v[1]) & _MASK
        v[0] = (v[0] + v[3]) & _MASK
        v[1], v[3] = rotated(v[1], 17) ^ v[2], rotated(v[3], 21) ^ v[0]
        v[2] = rotated(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= word
        mix()
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        mix()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def atlas(files: Iterable[tuple[str, bytes]]) -> str:
    """The cumulative hash of the last of *files* (name, content): SHA-256 over them all, in base64."""
    running = hashlib.sha256()
    for name, content in files:
        running.update(name.encode())
        running.update(content)
    return base64.b64encode(running.digest()).decode()
