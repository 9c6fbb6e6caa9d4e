"""Requests to a service: timeouts, repeated tries, and errors back as the library's own."""

from __future__ import annotations

import contextlib
import ipaddress
import random
import time
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx

from vultus import errors
from vultus._export import export
from vultus.client.pictures import Part
from vultus.errors import BadAnswer, BadArgument, ServiceError, ServiceUnreachable, VultusError

# The service did nothing yet when it answers with one of these, so that any call may be made again.
UNTOUCHED = frozenset({"rate_limited", "overloaded", "not_ready"})
# It may have; a call that changes nothing by being made twice may be made again all the same.
PASSING = frozenset({"deadline_exceeded", "gallery_busy"})


@export("vultus.client.Retries")
@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is made again, and after what time.

    A service that says how long to wait (Retry-After) is obeyed. Otherwise the wait is random, up to `first_seconds`, and
    up to twice that after each further failure.

    Args:
        attempts: how often at most, the first time included; 1 to never repeat.
        first_seconds: the bound of the first wait.
        longest_seconds: a call that would have to wait longer than this fails at once.

    Raises:
        BadArgument: a number is out of range.
    """

    attempts: int = 4
    first_seconds: float = 0.2
    longest_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.first_seconds < 3600 or not 0 <= self.longest_seconds < 3600:
            raise BadArgument(f"{self} is out of range; expected attempts of 1 or more, and seconds from 0 to 3600")


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Args:
        method, path: of HTTP; the path is encoded already.
        repeatable: whether making it twice does what making it once does.
        json: body, or None.
        fields, files: of a form; a form is sent where there are files.
        query: values that are None are left out.
        headers: besides the usual ones.
    """

    method: str
    path: str
    repeatable: bool
    json: dict[str, Any] | None = None
    fields: dict[str, str] | None = None
    files: tuple[Part, ...] = ()
    query: dict[str, Any] | None = None
    headers: dict[str, str] | None = None


class Transport:
    """A service at an address, with a key.

    Args:
        url: where it is.
        key: that is sent; None for none.
        timeout: seconds for connecting, and for each wait for bytes.
        retries: how calls are repeated.
        insecure: send key and faces unencrypted to another machine.
        http: makes the connections; one of httpx's own unless told otherwise.

    Raises:
        BadArgument: the address is none, or would be unsafe.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        timeout: float,
        retries: Retries,
        insecure: bool,
        http: httpx.BaseTransport | None,
    ) -> None:
        _refuse_unsafe(url, insecure)
        if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key and key):
            raise BadArgument("the key has characters that no key has; expected it as the service showed it, vk_...")
        headers = {"User-Agent": "vultus-client", "Accept": "application/json, */*"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self.retries = retries
        self._client = httpx.Client(
            base_url=url, headers=headers, timeout=timeout, follow_redirects=False, transport=http
        )

    def send(self, call: Call) -> httpx.Response:
        """The answer to a call, after as many tries as it may take.

        Raises:
            ServiceUnreachable: there was no answer.
            BadAnswer: it is none of a vultus service.
            VultusError: the service refused; the class is that of the code, and `request_id` names the request.
        """
        tries = 0
        while True:
            tries += 1
            wait: float | None = None
            try:
                response = self._once(call)
            except httpx.HTTPError as problem:
                failure: VultusError = ServiceUnreachable(
                    f"no answer from {self._client.base_url}: {type(problem).__name__}: {problem}"
                )
                again = call.repeatable or isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout)
            else:
                if response.is_success:
                    return response
                failure = error_of(response)
                again = failure.code in UNTOUCHED or (call.repeatable and failure.code in PASSING)
                with contextlib.suppress(ValueError):
                    wait = float(response.headers.get("retry-after", ""))
            if wait is None:
                wait = random.uniform(0, self.retries.first_seconds * 2 ** (tries - 1))  # noqa: S311 - no secret
            if not again or tries >= self.retries.attempts or not wait <= self.retries.longest_seconds:
                raise failure
            time.sleep(max(0.0, wait))

    def _once(self, call: Call) -> httpx.Response:
        query = {k: v for k, v in (call.query or {}).items() if v is not None}
        if call.files:
            body: dict[str, Any] = {"data": call.fields or {}, "files": list(call.files)}
        else:
            body = {"json": call.json} if call.json is not None else {}
        return self._client.request(call.method, call.path, params=query or None, headers=call.headers or None, **body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def json_of(response: httpx.Response) -> Any:
    """The JSON of an answer.

    Raises:
        BadAnswer: it is none.
    """
    try:
        return response.json()
    except ValueError as problem:
        raise BadAnswer(f"{response.request.url.path} answered no JSON: {problem}") from problem


def error_of(response: httpx.Response) -> VultusError:
    """The error that a problem document tells; its `request_id` is that of the document.

    A code that is not known, of a newer service, becomes a `ServiceError`. What is no problem document becomes a
    `BadAnswer`: something else than a vultus service answered.
    """
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(code := document.get("code"), str):
        failure: VultusError = BadAnswer(f"status {response.status_code} without a problem document; is it vultus?")
    else:
        kind = _kinds().get(code, ServiceError)
        said = str(document.get("detail", code))
        failure = kind(said if code in _kinds() else f"{code}: {said}")
    failure.request_id = response.headers.get("x-request-id")
    return failure


def segment(text: str) -> str:
    """A name as one segment of an address, whatever is in it."""
    encoded = quote(text, safe="")
    return encoded.replace(".", "%2E") if not encoded.strip(".") else encoded


@cache
def _kinds() -> dict[str, type[VultusError]]:
    """Every error of the library by its code."""
    found: dict[str, type[VultusError]] = {}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, VultusError):
            found.setdefault(value.code, value)
    return found


def _refuse_unsafe(url: str, insecure: bool) -> None:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as problem:
        raise BadArgument(
            f"{url!r} is no address: {problem}; expected https://HOST or http://127.0.0.1:PORT"
        ) from problem
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise BadArgument(f"{url!r} is no address of a service; expected https://HOST or http://127.0.0.1:PORT")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise BadArgument("the address has a user, a query or a fragment; expected scheme, host, port and path alone")
    if parsed.scheme == "http" and not insecure and not _loopback(parsed.host):
        raise BadArgument(
            f"{url!r} is another machine without TLS: the key and faces could be read on the way; use https, or say "
            "insecure=True where something else protects the way"
        )


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
