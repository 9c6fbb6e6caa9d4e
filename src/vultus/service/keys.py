"""API keys: who may do what? Made at random, shown once, kept as a digest, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from vultus.errors import BadArgument, NotAuthenticated, NotFound, StateConflict
from vultus.gallery.text import checked_text
from vultus.service.state import State

SCOPES = ("read", "enrol", "identify", "score", "embed", "admin")
_MARK = "vk"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the service knows it; the secret itself is nowhere.

    Args:
        key_id: names it in lists and in the audit log.
        name: for people to read.
        scopes: what it may do.
        created: when it was made.
        revoked: from when on it is refused.
    """

    key_id: str
    name: str
    scopes: frozenset[str]
    created: datetime
    revoked: datetime | None = None


def checked_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """A set of known scopes.

    Raises:
        BadArgument: none, or one that is not known.
    """
    found = frozenset(scopes)
    unknown = sorted(found - set(SCOPES))
    if unknown or not found:
        raise BadArgument(f"scopes {unknown or 'none'}; expected one or more of {', '.join(SCOPES)}")
    return found


class Keys:
    """The keys in the service's database; other processes may make and revoke keys meanwhile."""

    def __init__(self, state: State, *, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._clock = clock

    def create(self, name: str, scopes: Iterable[str]) -> tuple[ApiKey, str]:
        """A new key and its secret text, which cannot be had again.

        Raises:
            BadArgument: the name or a scope is refused.
        """
        words, allowed, now = checked_text(name, what="name"), checked_scopes(scopes), int(self._clock())
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._state.change(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, NULL)",
            (key_id, _digest(secret), words, " ".join(sorted(allowed)), now),
        )
        return ApiKey(key_id, words, allowed, datetime.fromtimestamp(now, UTC)), f"{_MARK}_{key_id}_{secret}"

    def check(self, text: str) -> ApiKey:
        """The key that a text is.

        Raises:
            NotAuthenticated: it is none, or one that was revoked.
        """
        mark, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        row = self._state.row("SELECT digest, name, scopes, created, revoked FROM keys WHERE id = ?", (key_id,))
        # an unknown id costs the same comparison as a known one
        known = bytes(row[0]) if row else bytes(32)
        fits = hmac.compare_digest(_digest(secret), known)
        if mark != _MARK or row is None or not fits or row[4] is not None:
            raise NotAuthenticated("the key is unknown or was revoked; ask an administrator for one")
        return _key(key_id, *row[1:])

    def listed(self) -> list[ApiKey]:
        """All keys, the oldest first."""
        rows = self._state.rows("SELECT id, name, scopes, created, revoked FROM keys ORDER BY created, rowid")
        return [_key(*row) for row in rows]

    def get(self, key_id: str) -> ApiKey:
        """One key by its id.

        Raises:
            NotFound: there is none.
        """
        row = self._state.row("SELECT id, name, scopes, created, revoked FROM keys WHERE id = ?", (key_id,))
        if row is None:
            raise NotFound("there is no key of this id")
        return _key(*row)

    def revoke(self, key_id: str) -> ApiKey:
        """Refuse a key from now on.

        Raises:
            NotFound: there is none.
            StateConflict: it is the last key that may administrate.
        """
        with self._state.writing():
            key = self.get(key_id)
            others = [k for k in self.listed() if k.revoked is None and k.key_id != key_id and "admin" in k.scopes]
            if key.revoked is None and "admin" in key.scopes and not others:
                raise StateConflict("this is the last key with the scope admin; make another before revoking it")
            self._state.rows(
                "UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?", (int(self._clock()), key_id)
            )
        return self.get(key_id)

    def any(self) -> bool:
        """Whether there is a key that is not revoked."""
        return self._state.row("SELECT 1 FROM keys WHERE revoked IS NULL") is not None


def _key(key_id: str, name: str, scopes: str, created: int, revoked: int | None) -> ApiKey:
    gone = None if revoked is None else datetime.fromtimestamp(revoked, UTC)
    return ApiKey(key_id, name, frozenset(scopes.split()), datetime.fromtimestamp(created, UTC), gone)


def _digest(secret: str) -> bytes:
    """32 random bytes need no slow hash: there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
