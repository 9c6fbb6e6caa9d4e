"""Addresses: what is vultus' own is taken out, and no message holds a password."""

from __future__ import annotations

import pytest

from vultus.errors import BadArgument, GalleryUnavailable
from vultus.gallery import Gallery
from vultus.gallery.opening import is_served, name_of
from vultus.gallery.postgres.address import parse_address


def test_the_parts() -> None:
    found = parse_address(
        "postgres://ada:s3cret@db.example:5433/faces?sslmode=require&gallery=staff&hnsw=200&workers=0"
    )
    assert (found.schema, found.partitions, found.workers, found.entries) == ("staff", 4, 0, 200)
    assert found.name == "postgresql://db.example:5433/faces?gallery=staff"
    given = ("host", "port", "dbname", "user", "password", "sslmode")
    assert [found.parameters[key] for key in given] == ["db.example", "5433", "faces", "ada", "s3cret", "require"]
    assert found.parameters["connect_timeout"] == 10
    assert "s3cret" not in repr(found)
    assert found.without_password("no s3cret here") == "no *** here"


def test_what_may_be_left_out() -> None:
    found = parse_address("postgresql:///")
    assert (found.schema, found.partitions, found.workers, found.entries) == ("vultus", 4, None, None)
    assert found.name == "postgresql:///?gallery=vultus"
    assert found.without_password("as it is") == "as it is"
    own = parse_address("postgresql:///db?host=/run/pg%20sql&connect_timeout=2&partitions=16")
    assert own.parameters["host"] == "/run/pg sql"
    assert own.parameters["connect_timeout"] == "2"
    assert own.partitions == 16


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:s3cret@h/db?gallery=",
        "postgresql://u:s3cret@h/db?gallery=Staff",
        "postgresql://u:s3cret@h/db?gallery=pg_catalog",
        "postgresql://u:s3cret@h/db?gallery=1st",
        "postgresql://u:s3cret@h/db?gallery=a;drop",
        f"postgresql://u:s3cret@h/db?gallery={'a' * 49}",
        "postgresql://u:s3cret@h/db?hnsw=on",
        "postgresql://u:s3cret@h/db?hnsw=0",
        "postgresql://u:s3cret@h/db?hnsw=1001",
        "postgresql://u:s3cret@h/db?partitions=0",
        "postgresql://u:s3cret@h/db?partitions=257",
        "postgresql://u:s3cret@h/db?workers=-1",
        "postgresql://u:s3cret@h/db?s3cret=s3cret",
        "postgresql://u:s3cret@h/db?s3cret",
        "postgresql://u:s3cret@[h/db",
    ],
)
def test_what_is_refused(address: str) -> None:
    with pytest.raises(BadArgument) as caught:
        Gallery.open(address, model="m")
    assert "s3cret" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize("address", ["postgresql://u:s3cret@h:port/db", "postgresql://u:s3cret@/db?host=/no/s3cret"])
def test_where_nobody_answers(address: str) -> None:
    with pytest.raises(GalleryUnavailable) as caught:
        Gallery.open(address, model="m")
    assert "s3cret" not in f"{caught.value.__cause__}{str(caught.value).partition('(')[2]}"


def test_a_path_is_none() -> None:
    assert is_served("postgresql://h/db")
    assert not any(map(is_served, ("postgresql.db", "./postgresql://h", "sqlite://x")))
    assert name_of("staff.db") == "staff.db"
    assert name_of("postgresql://u:s3cret@h/db") == "postgresql://h/db?gallery=vultus"


def test_options_of_files_are_refused() -> None:
    for options in ({"compress_from": None}, {"key": "x" * 20}, {"busy_seconds": -1}):
        with pytest.raises(BadArgument):
            Gallery.open("postgresql://h/db", model="m", **options)
