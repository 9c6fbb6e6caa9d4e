"""What an address of a gallery on Qdrant says, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.errors import BadArgument, SourceUnavailable
from vultus.gallery.opening import is_served, name_of
from vultus.gallery.qdrant.address import parse_address


def test_an_address_in_full(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  s3cret \nmore\n")
    found = parse_address(
        f"qdrants://search.site:7000/staff_2-b?shards=8&replicas=3&oversampling=4&timeout=60&key_file={tmp_path / 'key'}"
    )
    assert (found.name, found.url) == ("qdrants://search.site:7000/staff_2-b", "https://search.site:7000")
    assert (found.records, found.rows(128)) == ("staff_2-b_records", "staff_2-b_rows_128")
    assert (found.shards, found.replicas, found.oversampling, found.timeout) == (8, 3, 4, 60)
    assert found.key == "s3cret"
    assert "s3cret" not in repr(found)


def test_what_is_left_out() -> None:
    found = parse_address("qdrant://host/staff")
    assert (found.name, found.url) == ("qdrant://host:6333/staff", "http://host:6333")
    assert (found.shards, found.replicas, found.oversampling, found.timeout, found.key) == (1, 1, None, 30, None)
    assert parse_address("qdrant://[::1]:1/g").url == "http://[::1]:1"
    assert parse_address("qdrant://:k%2Fy@host/g").key == "k/y"


@pytest.mark.parametrize(
    "address",
    [
        "qdrant:///staff",
        "qdrant://host",
        "qdrant://host/",
        "qdrant://host/a/b",
        "qdrant://host/Staff",
        "qdrant://host/1staff",
        "qdrant://host/" + "a" * 65,
        "qdrant://host:none/staff",
        "qdrant://host:99999/staff",
        "qdrant://user:secret@host/staff",
        "qdrant://host/staff#part",
        "qdrant://host/staff?shards=0",
        "qdrant://host/staff?shards=1001",
        "qdrant://host/staff?replicas=x",
        "qdrant://host/staff?oversampling=",
        "qdrant://host/staff?oversampling=2.5",
        "qdrant://host/staff?timeout=-1",
        "qdrant://host/staff?colour=red",
        "qdrant://host/staff?shards=1&shards=2",
        "qdrant://host/staff?shards",
        "qdrant://:secret@host/staff?key_file=/dev/null",
        "qdrant://host/staff?key_file=/dev/null",
    ],
)
def test_what_is_refused(address: str) -> None:
    with pytest.raises(BadArgument) as problem:
        parse_address(address)
    assert "secret" not in str(problem.value)


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="no_such"):
        parse_address(f"qdrant://host/staff?key_file={tmp_path / 'no_such'}")


def test_a_served_gallery_is_named_without_its_key() -> None:
    assert is_served("qdrants://:secret@host/staff")
    assert name_of("qdrants://:secret@host/staff") == "qdrants://host:6333/staff"
