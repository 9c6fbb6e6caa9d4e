"""The tables of a gallery in a database: how they are made, and how those of an older version become newer."""

from __future__ import annotations

from psycopg import sql

from vultus.errors import (
    BadArgument,
    GalleryCorrupt,
    GalleryMissing,
    GalleryReadOnly,
    GalleryTooNew,
    GalleryUnavailable,
)
from vultus.gallery.postgres.address import Address
from vultus.gallery.postgres.connections import Connection

_LONGEST_MODEL = 1024
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vultus gallery ' || %s, 0))"

# `state` is one row, which every change locks first: it orders the changes, and every revision is visible after those
# before it. `halves` holds what a search scans: the rows in half precision, where nothing else makes it longer to read.
_FIRST = """
CREATE TABLE facts (name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint NOT NULL,
    vectors bigint NOT NULL,
    dimension integer
) WITH (fillfactor = 10);
INSERT INTO state (revision, vectors) VALUES (0, 0);

CREATE TABLE operations (revision bigint PRIMARY KEY, kind text NOT NULL, at bigint NOT NULL);

CREATE TABLE subjects (
    number bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    name text,
    created bigint NOT NULL
);

CREATE TABLE templates (
    number bigint PRIMARY KEY,
    subject bigint NOT NULL REFERENCES subjects (number),
    vector bytea,
    checksum bigint NOT NULL,
    samples integer NOT NULL,
    quality double precision,
    photo_sha256 text,
    consent text,
    expires bigint,
    created bigint NOT NULL
);
ALTER TABLE templates ALTER COLUMN vector SET STORAGE EXTERNAL;
CREATE INDEX templates_by_subject ON templates (subject);
CREATE INDEX templates_by_expiry ON templates (expires) WHERE expires IS NOT NULL;

CREATE TABLE halves (
    number bigint PRIMARY KEY,
    subject bigint NOT NULL,
    expires bigint NOT NULL,
    half halfvec NOT NULL
) PARTITION BY HASH (number);
ALTER TABLE halves ALTER COLUMN half SET STORAGE MAIN;

CREATE TABLE requests (
    key text COLLATE "C" PRIMARY KEY,
    digest bytea NOT NULL,
    revision bigint NOT NULL,
    templates integer NOT NULL,
    at bigint NOT NULL
);
CREATE INDEX requests_by_time ON requests (at);

CREATE TABLE search_thresholds (
    fpir double precision NOT NULL,
    gallery_size bigint NOT NULL,
    value double precision NOT NULL,
    searches bigint NOT NULL,
    low double precision NOT NULL,
    high double precision NOT NULL,
    data text NOT NULL,
    fnir double precision,
    PRIMARY KEY (fpir, gallery_size)
);
"""

# The n-th script takes a schema from version n to n + 1, in one transaction with the new version number.
MIGRATIONS: tuple[str, ...] = (_FIRST,)
VERSION = len(MIGRATIONS)


def prepare(connection: Connection, address: Address, *, model: str | None, read_only: bool) -> str:
    """Make the gallery where there is none, bring it to this version, and say what model it is of.

    The connection is inside a transaction, which the caller commits.

    Raises:
        GalleryMissing: there is none, and no model was named or nothing may be written.
        GalleryCorrupt, GalleryTooNew, GalleryReadOnly, GalleryUnavailable: it cannot be used.
        BadArgument: no name of a model.
    """
    version = _version(connection, address)
    if version != VERSION and not read_only and (version or model is not None):
        connection.execute(_LOCK, (address.schema,))
        version = _version(connection, address)  # another process may have been faster
        if version == 0:
            _make(connection, address, str(model))
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            connection.execute(script.encode())
            connection.execute("INSERT INTO versions VALUES (%s, extract(epoch FROM now()))", (number,))
        if version == 0:
            _fill(connection, address, str(model))
    elif version == 0:
        raise GalleryMissing(f"there is no gallery at {address.name}; make one with `vultus gallery create`")
    elif version != VERSION:
        raise GalleryReadOnly(
            f"gallery {address.name} is of version {version} and must be written once to become {VERSION}"
        )
    found = connection.execute("SELECT value FROM facts WHERE name = 'model_id'").fetchone()
    if found is None:
        raise GalleryCorrupt(f"gallery {address.name} does not say what model it is of; restore a backup")
    return str(found[0])


def _version(connection: Connection, address: Address) -> int:
    """The version of the schema, 0 where there is none."""
    there = connection.execute(
        "SELECT count(c.relname), count(*) FILTER (WHERE c.relname = 'versions') FROM pg_catalog.pg_namespace AS n "
        "LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid WHERE n.nspname = %s GROUP BY n.oid",
        (address.schema,),
    ).fetchone()
    if there is None or there[0] == 0:
        return 0
    found = connection.execute("SELECT max(version) FROM versions").fetchone() if there[1] else None
    if found is None or found[0] is None:
        raise GalleryCorrupt(
            f"the schema {address.schema} in the database is another program's and no gallery; name another with ?gallery="
        )
    version = int(found[0])
    if version > VERSION:
        raise GalleryTooNew(
            f"gallery {address.name} is of version {version}, and this vultus knows versions up to {VERSION}; use a newer "
            "vultus"
        )
    return version


def _make(connection: Connection, address: Address, model: str) -> None:
    if not 0 < len(model) <= _LONGEST_MODEL or not model.isprintable():
        raise BadArgument(f"model is {model!r}; expected the model_id of a recognizer")
    encoding = connection.execute("SHOW server_encoding").fetchone()
    if encoding != ("UTF8",):
        raise GalleryUnavailable(f"the database of {address.name} is not in UTF8; make one with ENCODING 'UTF8'")
    if connection.execute("SELECT to_regtype('halfvec')").fetchone() == (None,):
        raise GalleryUnavailable(
            f"the database of {address.name} has no pgvector of version 0.7 or newer; have its administrator run CREATE "
            "EXTENSION vector"
        )
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(address.schema)))
    connection.execute("CREATE TABLE versions (version integer PRIMARY KEY, at bigint NOT NULL)")


def _fill(connection: Connection, address: Address, model: str) -> None:
    for remainder in range(address.partitions):
        part = sql.SQL("CREATE TABLE {} PARTITION OF halves FOR VALUES WITH (MODULUS {}, REMAINDER {})")
        name = sql.Identifier(f"halves_{remainder}")
        connection.execute(part.format(name, sql.Literal(address.partitions), sql.Literal(remainder)))
    connection.execute("INSERT INTO facts VALUES ('model_id', %s)", (model,))
