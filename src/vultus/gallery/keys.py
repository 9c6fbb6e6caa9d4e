"""The key of a gallery that is encrypted at rest: what is taken as one, and whether it fits a file.

The cipher is SQLite3 Multiple Ciphers' ChaCha20-Poly1305: each page of the database, of its log and of its journal has a
nonce of its own and a tag by which a changed page is noticed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

import apsw

from vultus.errors import BadArgument, GalleryLocked, GalleryUnavailable

Key = bytes | str
Lock = Literal["none", "plain", "encrypted", "unknown"]

KEY_BYTES = 32
_PLAIN = b"SQLite format 3\0"
# Bytes 20 to 24 of an encrypted file are as SQLite has them: 32 bytes kept free in each page, and three constants.
_ENCRYPTED = bytes([32, 64, 32, 32])
_RAW = "raw:"


def checked_key(key: object) -> Key | None:
    """32 random bytes, used as they are, or the words of a passphrase; None for none.

    Raises:
        BadArgument: anything else.
    """
    if key is None or (isinstance(key, bytes) and len(key) == KEY_BYTES):
        return key
    if isinstance(key, bytes):
        raise BadArgument(f"a key of {len(key)} bytes; expected {KEY_BYTES} random bytes, or a passphrase as a string")
    if not isinstance(key, str):
        raise BadArgument(f"a key that is {type(key).__name__}; expected {KEY_BYTES} bytes, a passphrase or None")
    if not key.strip() or "\0" in key or not _encodes(key):
        raise BadArgument("a passphrase that is empty, or has characters that cannot be typed; expected words")
    if key.startswith(_RAW):
        raise BadArgument(f"a passphrase that begins with {_RAW!r}; give {KEY_BYTES} bytes for a key without words")
    return key


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def secret_of(key: Key | None) -> str:
    """What the cipher takes: bytes as they are, words to derive a key from (PBKDF2, 64,007 rounds), nothing for none."""
    if key is None:
        return ""
    return _RAW + key.hex() if isinstance(key, bytes) else key


def unlock(connection: apsw.Connection, key: Key | None) -> None:
    """Give a new connection its key, before anything is read; whether it fits shows at the first read.

    Raises:
        GalleryUnavailable: this SQLite cannot encrypt, and would ignore the key.
    """
    known = connection.pragma("cipher", "chacha20")
    if key is None:
        return
    if known != "chacha20" or connection.pragma("hexkey", secret_of(key).encode().hex()) != "ok":
        raise GalleryUnavailable(
            "the installed apsw cannot encrypt: uninstall apsw, then install apsw-sqlite3mc, which carries the same module"
        )


def lock_of(path: Path) -> Lock:
    """How a file is locked, by its first bytes: not at all ("plain"), or with a key; "none" for an empty file.

    The file is read through SQLite: a program that closes a file of its own gives up the locks that SQLite holds on it.
    """
    with suppress(apsw.Error):
        file = apsw.VFSFile("", os.fspath(path), [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0])
        try:
            if not file.xFileSize():
                return "none"
            head = file.xRead(24, 0)
        finally:
            file.xClose()
        if head.startswith(_PLAIN):
            return "plain"
        if head[20:24] == _ENCRYPTED:
            return "encrypted"
    return "unknown"


def refuse_other_lock(path: Path, key: Key | None) -> None:
    """Refuse a key for a plain file, and none for one that is encrypted; nothing is changed.

    Raises:
        GalleryLocked: so it is.
    """
    lock = lock_of(path)
    if lock == "plain" and key is not None:
        raise GalleryLocked(
            f"gallery {path} is not encrypted, and a key was given; open it without one (VULTUS_GALLERY_KEY unset), or "
            "encrypt it with `vultus gallery rekey`"
        )
    if lock == "encrypted" and key is None:
        raise GalleryLocked(
            f"gallery {path} is encrypted; give its key: key= in Python, VULTUS_GALLERY_KEY or --key-file on the "
            "command line"
        )


def not_the_key(path: Path) -> GalleryLocked:
    """The error that says that a key does not fit."""
    return GalleryLocked(
        f"gallery {path} does not open with this key; give the key that it was made or last rekeyed with. If that was it, "
        "the file's first page is damaged: put a backup in its place"
    )
