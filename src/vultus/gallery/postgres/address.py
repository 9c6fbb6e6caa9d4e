"""Where is the database, and which gallery in it is meant?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from vultus.errors import BadArgument

_NAME = re.compile(r"(?!pg_)[a-z][a-z0-9_]{0,47}")
_MOST_PARTITIONS = 256
_MOST_WORKERS = 64
_MOST_ENTRIES = 1000
# A server that has vanished is noticed within a minute, not after the two hours that operating systems wait.
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 5,
    "tcp_user_timeout": 30_000,
}


@dataclass(frozen=True, slots=True)
class Address:
    """A gallery in a database.

    Args:
        name: what messages call it.
        parameters: libpq's, the password among them where the address held one.
        schema: the gallery's name and its schema's.
        partitions: of a new gallery's scanned table.
        workers: the server's processes that may help with a search; None for the server's setting.
        entries: of the graph that a search looks at; None for scans of everything.
    """

    name: str
    parameters: dict[str, str | int] = field(repr=False)
    schema: str
    partitions: int
    workers: int | None
    entries: int | None

    def without_password(self, text: str) -> str:
        """The text, in which the password does not occur."""
        password = str(self.parameters.get("password") or "")
        return text.replace(password, "***") if password else text


def parse_address(address: str) -> Address:
    """The parts of `postgresql://...?gallery=...`.

    Raises:
        BadArgument: it cannot be parsed, or a parameter is out of range. The message does not repeat it.
    """
    base, _, query = address.partition("?")
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise BadArgument(
            "the parameters of the database's address cannot be parsed; expected name=value&..."
        ) from None
    own = {key: value for key, value in given if key in ("gallery", "partitions", "workers", "hnsw")}
    rest = [(key, value) for key, value in given if key not in own]
    schema = own.get("gallery", "vultus")
    if not _NAME.fullmatch(schema):
        raise BadArgument(
            f"gallery is {schema!r}; expected 1 to 48 of a-z, 0-9 and _, a letter first, and not pg_ as in PostgreSQL's own"
        )
    try:
        parameters = conninfo_to_dict(base + ("?" + urlencode(rest, quote_via=quote) if rest else ""))
    except psycopg.Error:  # whose message may hold parts of the address, a password among them
        raise BadArgument(
            "the database's address cannot be parsed; expected postgresql://user@host:port/database?gallery=name with "
            "libpq's parameters, and what has a special meaning written as %XX"
        ) from None
    known = {key: value for key, value in parameters.items() if value is not None}
    return Address(
        _shown(known, schema),
        {**_PATIENCE, **known},
        schema,
        _number(own, "partitions", _MOST_PARTITIONS) or 4,
        _number(own, "workers", _MOST_WORKERS, least=0),
        _number(own, "hnsw", _MOST_ENTRIES),
    )


def _shown(parameters: dict[str, str | int], schema: str) -> str:
    host, port = str(parameters.get("host", "")), str(parameters.get("port", ""))
    where = quote(host, safe="/.,:") + (f":{port}" if port else "")
    return f"postgresql://{where}/{parameters.get('dbname', '')}?gallery={schema}"


def _number(own: dict[str, str], key: str, most: int, *, least: int = 1) -> int | None:
    if key not in own:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", own[key]) or not least <= int(own[key]) <= most:
        raise BadArgument(f"{key} is {own[key]!r} in the database's address; expected {least} to {most}")
    return int(own[key])
