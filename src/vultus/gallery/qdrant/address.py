"""Where is the server, and which gallery on it is meant?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from vultus.errors import BadArgument, SourceUnavailable

PLAIN, SECURE = "qdrant://", "qdrants://"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_MOST = {"shards": 1000, "replicas": 100, "oversampling": 1000, "timeout": 3600}
_PORT = 6333
_EXPECTED = "expected qdrant://host:port/gallery, with parameters behind a ?"


@dataclass(frozen=True, slots=True)
class Address:
    """A gallery on a server.

    Args:
        name: what messages call it.
        url: of the server.
        gallery: names its collections.
        key: the server's API key.
        shards, replicas: of new collections.
        oversampling: of a search by compressed rows; None for one by the rows themselves.
        timeout: seconds that a request may take.
    """

    name: str
    url: str
    gallery: str
    key: str | None = field(repr=False)
    shards: int
    replicas: int
    oversampling: int | None
    timeout: int

    @property
    def records(self) -> str:
        """The collection of everything but the vectors."""
        return f"{self.gallery}_records"

    def rows(self, dimension: int) -> str:
        """The collection of the vectors, which is searched."""
        return f"{self.gallery}_rows_{dimension}"


def parse_address(address: str) -> Address:
    """The parts of `qdrant://host:port/gallery?...`.

    Raises:
        BadArgument: it cannot be parsed, or a parameter is out of range. The message does not repeat the key.
        SourceUnavailable: the key's file cannot be read.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or _PORT
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:  # whose message may hold parts of the address, a key among them
        raise BadArgument(f"the address of the Qdrant server cannot be parsed; {_EXPECTED}") from None
    gallery = parts.path.removeprefix("/")
    if not host or parts.username or parts.fragment:
        raise BadArgument(f"the address of the Qdrant server names no host, or a user; {_EXPECTED}")
    if not _NAME.fullmatch(gallery):
        raise BadArgument(f"gallery is {gallery!r}; expected 1 to 64 of a-z, 0-9, _ and -, a letter first")
    options = dict(given)
    if len(options) != len(given) or not set(options) <= {*_MOST, "key_file"}:
        raise BadArgument(
            f"the parameters of the address are {', '.join(key for key, _ in given)}; expected, at most once each: "
            f"{', '.join(_MOST)}, key_file"
        )
    numbers = {key: _number(options, key) for key in _MOST}
    where = f"[{host}]" if ":" in host else host
    return Address(
        f"{parts.scheme}://{where}:{port}/{gallery}",
        f"{'https' if parts.scheme == 'qdrants' else 'http'}://{where}:{port}",
        gallery,
        _key(options, parts.password),
        numbers["shards"] or 1,
        numbers["replicas"] or 1,
        numbers["oversampling"],
        numbers["timeout"] or 30,
    )


def _number(options: dict[str, str], key: str) -> int | None:
    if key not in options:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", options[key]) or not 1 <= int(options[key]) <= _MOST[key]:
        raise BadArgument(f"{key} is {options[key]!r} in the address; expected 1 to {_MOST[key]}")
    return int(options[key])


def _key(options: dict[str, str], password: str | None) -> str | None:
    if "key_file" not in options:
        return unquote(password) if password else None
    if password:
        raise BadArgument("the address holds a key and names a file of one; give one of them")
    path = Path(options["key_file"])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as problem:
        raise SourceUnavailable(f"cannot read the key in {path}: {problem}") from problem
    if not lines or not lines[0].strip():
        raise BadArgument(f"the first line of {path} is empty; expected the server's API key")
    return lines[0].strip()
