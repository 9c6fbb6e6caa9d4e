"""Settings from a file, the environment and flags; what is unsafe is refused; the commands."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vultus.cli.app import run
from vultus.errors import BadSettings
from vultus.service import Settings, load_settings
from vultus.service.pad import load_detector
from vultus.service.server import refuse_unsafe


def test_each_source_goes_over_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('port = 1\nqueue = 5\nhost = "::1"\nkeep_thumbnails = true\nbody_seconds = 3\n')
    environment = {"VULTUS_SERVICE_PORT": "2", "VULTUS_SERVICE_QUEUE": "6", "VULTUS_SERVICE_MIRROR": "yes", "HOME": "x"}
    found = load_settings(file, environment=environment, given={"port": 3, "model": None})
    assert (found.port, found.queue, found.host, found.mirror) == (3, 6, "::1", True)
    assert (found.keep_thumbnails, found.body_seconds, found.model) == (True, 3.0, None)
    assert load_settings(environment={}) == Settings()


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("prot = 1", {}, "did you mean 'port'"),
        ("port = 'x'", {}, "port"),
        ("port = 70000", {}, "port"),
        ("= 1", {}, "cannot read"),
        ("", {"VULTUS_SERVICE_PORT": "x"}, "VULTUS_SERVICE_PORT"),
        ("", {"VULTUS_SERVICE_INSECURE": "maybe"}, "true or false"),
        ("", {"VULTUS_SERVICE_NOTHING": "1"}, "nothing"),
        ("queue = 0", {}, "queue"),
        ("threads = 0", {}, "threads"),
        ("deadline_seconds = nan", {}, "deadline_seconds"),
        ("review_fmr = 2.0", {}, "review_fmr"),
        ("tls_key = 'a'", {}, "belong together"),
    ],
)
def test_refusals(tmp_path: Path, text: str, environment: dict[str, str], words: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(BadSettings, match=words):
        load_settings(file, environment=environment)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadSettings):
        load_settings(tmp_path / "none.toml", environment={})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", "127.0.0.1.example.org"])
def test_other_addresses_want_keys_and_tls(host: str) -> None:
    plain = Settings(host=host)
    assert not plain.loopback
    with pytest.raises(BadSettings, match="no key"):
        refuse_unsafe(plain, has_keys=False)
    with pytest.raises(BadSettings, match="no TLS"):
        refuse_unsafe(plain, has_keys=True)
    refuse_unsafe(Settings(host=host, insecure=True), has_keys=True)
    refuse_unsafe(Settings(host=host, tls_certificate="a", tls_key="b"), has_keys=True)
    with pytest.raises(BadSettings, match="no key"):
        refuse_unsafe(Settings(host=host, insecure=True), has_keys=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_free(host: str) -> None:
    assert Settings(host=host).loopback
    refuse_unsafe(Settings(host=host), has_keys=False)


def test_the_command_refuses_before_it_makes_anything(tmp_path: Path) -> None:
    assert run(["serve", "--data", str(tmp_path / "d"), "--host", "0.0.0.0", "--insecure"]) == 2
    assert not (tmp_path / "d").exists()


def test_keys_and_audit_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "d")
    assert run(["keys", "list", folder]) == 2
    assert run(["keys", "create", folder, "--name", "a", "--scope", "admin", "--scope", "read", "--json"]) == 0
    made = json.loads(capsys.readouterr().out.partition("\n}")[0] + "}")
    assert made["key"].startswith(f"vk_{made['key_id']}_")
    assert run(["keys", "create", folder, "--name", "b", "--scope", "root"]) == 2
    assert run(["keys", "create", folder, "--name", "b", "--scope", "admin"]) == 0
    assert run(["keys", "revoke", folder, made["key_id"]]) == 0
    capsys.readouterr()
    assert run(["keys", "list", folder, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(k["name"], k["scopes"], k["revoked"] is not None) for k in listed] == [
        ("a", "admin read", True),
        ("b", "admin", False),
    ]
    assert "key" not in listed[0]
    assert run(["audit", "verify", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    assert run(["audit", "show", folder, "--last", "2", "--json"]) == 0
    assert [e["action"] for e in json.loads(capsys.readouterr().out)] == ["key.revoke", "key.revoke"]
    log = tmp_path / "d" / "audit" / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"key.create", b"key.revoke", 1))
    assert run(["audit", "verify", folder]) == 1
    assert run(["audit", "verify", str(tmp_path / "nothing")]) == 2


def test_a_detector_is_made_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_detector(None) is None
    for name in ("nothing.at.all:x", "json:nothing", "json", "json:JSONDecoder", "math:sqrt"):
        with pytest.raises(BadSettings):
            load_detector(name)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, which does not outlive the test."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_tls_end_to_end(tmp_path: Path, cache: Path) -> None:
    """The command on a socket of its own: first key, health, a second service on the folder, TLS, and a clean end."""
    pem, key = tmp_path / "c.pem", tmp_path / "k.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(make + more, check=True, capture_output=True)
    command = [sys.executable, "-m", "vultus", "serve", "--data", str(tmp_path / "d"), "--port", "0"]
    tls = ["--tls-certificate", str(pem), "--tls-key", str(key)]
    environment = {**os.environ, "VULTUS_GALLERY_KEY": "ab" * 32, "VULTUS_SERVICE_THREADS": "1"}
    with ended(subprocess.Popen([*command, *tls], stderr=subprocess.PIPE, text=True, env=environment)) as process:
        assert process.stderr is not None
        first, where = process.stderr.readline(), process.stderr.readline()
        assert re.search(r"shown this once: vk_\w{12}_", first)
        port = int(where.rstrip().rpartition(":")[2])
        trusted = ssl.create_default_context(cafile=str(pem))
        with urllib.request.urlopen(f"https://localhost:{port}/healthz", context=trusted) as answer:
            assert answer.status == 200
            assert answer.headers["strict-transport-security"]
        with socket.create_connection(("localhost", port)) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" not in plain.recv(100)
        second = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert second.returncode == 2
        assert "audit_unavailable" in second.stderr
        process.terminate()
        rest = process.stderr.read()
    for line in rest.splitlines():
        json.loads(line)
    assert (tmp_path / "d" / "service.db").read_bytes()[:15] != b"SQLite format 3"  # encrypted with the key
    assert (tmp_path / "d").stat().st_mode & 0o077 == 0
