"""The tables of a gallery, and how an older file becomes a newer one.

A number of a subject or template is the revision of the operation that made it times 2^20, plus its place in that
operation. So numbers ascend and are never used twice, and what was added after a revision is one range of them.
"""

from __future__ import annotations

APPLICATION_ID = 0x76756C74
PER_OPERATION = 1 << 20

_FIRST = """
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE operations (
    revision INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    token INTEGER NOT NULL
) STRICT;

CREATE TABLE subjects (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE templates (
    number INTEGER PRIMARY KEY,
    subject INTEGER NOT NULL REFERENCES subjects (number),
    vector BLOB,
    checksum INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    quality REAL,
    photo_sha256 TEXT,
    consent TEXT,
    expires INTEGER,
    created INTEGER NOT NULL
) STRICT;

CREATE INDEX templates_by_subject ON templates (subject);
CREATE INDEX templates_by_expiry ON templates (expires) WHERE expires IS NOT NULL;
CREATE INDEX templates_without_vector ON templates (number) WHERE vector IS NULL;

CREATE TABLE changes (
    revision INTEGER NOT NULL,
    template INTEGER NOT NULL,
    subject INTEGER,
    PRIMARY KEY (revision, template)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
    key TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    revision INTEGER NOT NULL,
    templates INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE search_thresholds (
    fpir REAL NOT NULL,
    gallery_size INTEGER NOT NULL,
    value REAL NOT NULL,
    searches INTEGER NOT NULL,
    low REAL NOT NULL,
    high REAL NOT NULL,
    data TEXT NOT NULL,
    fnir REAL,
    PRIMARY KEY (fpir, gallery_size)
) STRICT, WITHOUT ROWID;
"""

# The n-th script takes a file from version n to n + 1, in one transaction with the new version number.
MIGRATIONS: tuple[str, ...] = (_FIRST,)
VERSION = len(MIGRATIONS)


def first_number_after(revision: int) -> int:
    """The smallest number that an operation after this revision can have given."""
    return (revision + 1) * PER_OPERATION
