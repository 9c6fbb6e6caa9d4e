"""Container, compose file, unit, backup and restore: what can be shown of them without a container engine."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from tests.service.conftest import Running, serving

from vultus.service import Settings

PACKAGING = Path(__file__).parents[2] / "packaging"


def test_the_image_runs_as_nobody_in_particular() -> None:
    lines = (PACKAGING / "Dockerfile").read_text(encoding="utf-8").splitlines()
    last = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM")) :]
    words = [line.split()[0] for line in last if re.match(r"[A-Z]+ ", line)]
    assert "USER 10001:10001" in last
    assert {"HEALTHCHECK", "VOLUME", "ENTRYPOINT", "STOPSIGNAL"} <= set(words)
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "ADD" not in words
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (PACKAGING.parent / source).exists(), source


def test_compose_is_read_only_and_bound_to_loopback() -> None:
    found = yaml.safe_load((PACKAGING / "compose.yaml").read_text(encoding="utf-8"))
    service, database = found["services"]["vultus"], found["services"]["postgres"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for s in (service, database) for port in s["ports"])
    assert database["image"].startswith("pgvector/pgvector:")
    assert not any(
        "password" in str(v).lower() and "/run/secrets/" not in str(v) for v in database["environment"].values()
    )
    assert (PACKAGING.parent / service["build"]["dockerfile"]).exists()
    for s in (service, database):
        assert set(s["secrets"]) <= set(found["secrets"])
        assert {v.partition(":")[0] for v in s["volumes"]} <= set(found["volumes"])


def test_the_unit_gives_up_what_it_does_not_need() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(PACKAGING / "vultus.service", encoding="utf-8")
    service = unit["Service"]
    for name, value in {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "IPAddressDeny": "any",
    }.items():
        assert service[name] == value
    assert service["CapabilityBoundingSet"] == ""
    assert "/vultus serve " in service["ExecStart"]


@pytest.mark.skipif(os.name != "posix", reason="a container's shell script")
def test_the_entry_point_makes_the_first_key_and_serves(tmp_path: Path, cache: Path) -> None:
    scripts = str(Path(sys.executable).parent)
    secret = tmp_path / "key"
    secret.write_text("a" * 64 + "\n")
    variables = {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "VULTUS_SERVICE_DATA": str(tmp_path / "data"),
        "VULTUS_SERVICE_HOST": "0.0.0.0",
        "VULTUS_SERVICE_PORT": "0",
        "VULTUS_SERVICE_INSECURE": "true",
        "VULTUS_GALLERY_KEY_FILE": str(secret),
    }
    call = ["sh", str(PACKAGING / "entrypoint.sh"), "vultus", "serve"]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True, env=os.environ | variables)
    try:
        assert process.stderr is not None
        key = at = ""
        for line in process.stderr:
            key = key or "".join(re.findall(r"vk_\S+", line))
            if found := re.search(r"listens at http://0\.0\.0\.0:(\d+)", line):
                at = found.group(1)
                break
        answer = httpx.get(f"http://127.0.0.1:{at}/v1/keys", headers={"Authorization": f"Bearer {key}"})
        assert [k["name"] for k in answer.json()["keys"]] == ["first key"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        if process.stderr is not None:
            process.stderr.close()
    assert not (tmp_path / "data" / "service.db").read_bytes().startswith(b"SQLite format 3")  # the secret was used


def test_backup_and_restore(tmp_path: Path, cache: Path, collins: bytes, collins_again: bytes) -> None:
    """As docs/packaging.md says: the whole folder while the service is stopped, and one gallery as an archive at any time."""
    first, second, archive = tmp_path / "first", tmp_path / "second", tmp_path / "staff.zip"

    def settings(folder: Path) -> Settings:
        return Settings(data=str(folder), threads=1, requests_per_second=0)

    def file_of(folder: Path, gallery: str) -> Path:
        return folder / "galleries" / f"{hashlib.sha256(gallery.encode()).hexdigest()[:32]}.db"

    def vultus(*words: object) -> None:
        call = [sys.executable, "-m", "vultus", *map(str, words)]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def who(running: Running, key: str, gallery: str) -> list[str]:
        headers = {"Authorization": f"Bearer {key}"}
        at = f"{running.url}/v1/galleries/{gallery}/identify"
        answer = httpx.post(at, headers=headers, files={"image": collins_again}, timeout=60)
        return [c["subject_id"] for c in answer.raise_for_status().json()["candidates"]]

    for running in serving(settings(first)):
        key = running.service.keys.create("all", ["read", "enrol", "identify", "admin"])[1]
        headers = {"Authorization": f"Bearer {key}"}
        for name in ("staff", "restored"):
            httpx.post(f"{running.url}/v1/galleries", headers=headers, json={"name": name}).raise_for_status()
        at = f"{running.url}/v1/galleries/staff/subjects"
        sent = {"files": {"image": collins}, "data": {"subject_id": "ada"}, "headers": headers, "timeout": 60}
        httpx.post(at, **sent).raise_for_status()  # type: ignore[arg-type]
        vultus("gallery", "export", file_of(first, "staff"), archive)  # while the service runs
    shutil.copytree(first, second)
    vultus("gallery", "import", file_of(second, "restored"), archive)
    vultus("audit", "verify", second)
    for running in serving(settings(second)):
        assert who(running, key, "staff") == ["ada"]
        assert who(running, key, "restored") == ["ada"]
