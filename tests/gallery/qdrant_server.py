"""A stand-in for a Qdrant server: the part of its REST interface that vultus uses, over Qdrant's own engine.

Every request is handed to `qdrant_edge`, the engine that the server is built on, one shard a collection. It refuses what
the engine has no counterpart for, and changes without `wait` and strong ordering. It knows no shards, replicas or keys.

    python -m tests.gallery.qdrant_server FOLDER PORT
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import qdrant_edge as edge

_KILOBYTES = 100  # from which on rows in 8 bits are made; a server's default is some hundred times as many

Json = dict[str, Any]
Fault = Callable[[str, str, Json], tuple[int, str] | None]


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Collections:
    """The collections in a folder.

    Args:
        folder: of which each has a folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._open: dict[str, tuple[edge.EdgeShard, str]] = {}
        for made in sorted(folder.iterdir()):
            # a folder that was not finished was never acknowledged
            if not (made / "vector").exists():
                shutil.rmtree(made)
                continue
            self._open[made.name] = edge.EdgeShard.load(str(made / "shard")), (made / "vector").read_text()

    def close(self) -> None:
        for shard, _ in self._open.values():
            shard.close()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> Any:
        _, collections, name, *rest = path.split("/")
        if collections != "collections":
            raise Refused(404, f"no such path {path}")
        if rest == ["exists"]:
            return {"exists": name in self._open}
        if method == "PUT" and not rest:
            return self._make(name, body)
        if name not in self._open:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        shard, vector = self._open[name]
        what = f"{method} {'/'.join(rest)}"
        if what in _UPDATES:
            if query.get("wait") != ["true"] or query.get("ordering") != ["strong"]:
                raise Refused(400, "a change must wait and be strongly ordered")
            with self._lock:
                shard.update(_UPDATES[what](body))
            return {"operation_id": 0, "status": "completed"}
        if what == "POST points":
            found = shard.retrieve(body["ids"], body.get("with_payload", True), body.get("with_vector", False))
            return [_record(r, vector) for r in found]
        if what == "POST points/count":
            return {"count": shard.count(edge.CountRequest(exact=body["exact"], filter=_filter(body.get("filter"))))}
        if what == "POST points/scroll":
            request = edge.ScrollRequest(
                offset=body.get("offset"),
                limit=body["limit"],
                filter=_filter(body.get("filter")),
                with_payload=body.get("with_payload"),
                with_vector=body.get("with_vector", False),
            )
            found, following = shard.scroll(request)
            return {"points": [_record(r, vector) for r in found], "next_page_offset": following}
        if what == "POST points/query":
            return {"points": self._query(shard, body)}
        raise Refused(405, f"{what} is not part of the stand-in")

    def optimize(self, name: str) -> bool:
        """What a server does by itself in the background: rows in 8 bits are made."""
        return self._open[name][0].optimize()

    def drop(self, beginning: str) -> None:
        """Forget the collections whose names begin so."""
        with self._lock:
            for name in [name for name in self._open if name.startswith(beginning)]:
                self._open.pop(name)[0].close()
                shutil.rmtree(self._folder / name)

    def shard(self, name: str) -> edge.EdgeShard:
        return self._open[name][0]

    def _make(self, name: str, body: Json) -> bool:
        with self._lock:
            if name in self._open:
                raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
            if body["hnsw_config"]["m"] != 0:
                raise Refused(400, "a collection with a graph")
            hnsw = edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)
            quick = None
            if "quantization_config" in body:
                scalar = body["quantization_config"]["scalar"]
                assert scalar["type"] == "int8"
                kind = edge.ScalarType.Int8
                quick = edge.ScalarQuantizationConfig(
                    type=kind, quantile=scalar["quantile"], always_ram=scalar["always_ram"]
                )
            vectors = body["vectors"]
            named = "size" not in vectors
            params: Any = (
                {key: _params(value, hnsw, quick) for key, value in vectors.items()}
                if named
                else _params(vectors, hnsw, quick)
            )
            folder = self._folder / name
            folder.mkdir()
            config = edge.EdgeConfig(
                vectors=params,
                hnsw_config=hnsw,
                on_disk_payload=True,
                optimizers=edge.EdgeOptimizersConfig(indexing_threshold=_KILOBYTES),
            )
            shard = edge.EdgeShard.create(str(folder / "shard"), config)
            self._open[name] = shard, "" if named else "plain"
            (folder / "vector").write_text(self._open[name][1])
        return True

    @staticmethod
    def _query(shard: edge.EdgeShard, body: Json) -> list[Json]:
        quick = (body.get("params") or {}).get("quantization")
        quantization = None
        if quick is not None:
            quantization = edge.QuantizationSearchParams(
                ignore=quick["ignore"], rescore=quick["rescore"], oversampling=quick["oversampling"]
            )
        found = shard.query(
            edge.QueryRequest(
                limit=body["limit"],
                query=edge.Query.Nearest(body["query"]["nearest"]),
                params=edge.SearchParams(exact=body["params"]["exact"], quantization=quantization),
                score_threshold=body.get("score_threshold"),
                with_payload=body["with_payload"],
                with_vector=body["with_vector"],
            )
        )
        return [{**_record(p, "plain"), "score": p.score, "version": 0} for p in found]


def _params(vector: Json, hnsw: edge.HnswIndexConfig, quick: Any) -> edge.EdgeVectorParams:
    assert vector["distance"] == "Dot"
    return edge.EdgeVectorParams(
        size=vector["size"], distance=edge.Distance.Dot, hnsw_config=hnsw, quantization_config=quick
    )


def _record(found: Any, vector: str) -> Json:
    return {"id": found.id, "payload": found.payload, "vector": found.vector if vector == "plain" else {}}


def _filter(given: Json | None) -> edge.Filter | None:
    if given is None:
        return None
    if set(given) != {"must"}:
        raise Refused(400, f"a filter of {sorted(given)}")
    return edge.Filter(must=[_condition(c) for c in given["must"]])


def _condition(given: Json) -> Any:
    if "has_id" in given:
        return edge.HasIdCondition(set(given["has_id"]))
    if "match" in given:
        match = given["match"]
        made = edge.MatchValue(match["value"]) if "value" in match else edge.MatchAny(match["any"])
        return edge.FieldCondition(key=given["key"], match=made)
    return edge.FieldCondition(key=given["key"], range=edge.RangeFloat(lte=given["range"]["lte"]))


def _upsert(body: Json) -> edge.UpdateOperation:
    points = [edge.Point(p["id"], p["vector"], p["payload"]) for p in body["points"]]
    return edge.UpdateOperation.upsert_points(points, _filter(body.get("update_filter")))


def _delete(body: Json) -> edge.UpdateOperation:
    if "points" in body:
        return edge.UpdateOperation.delete_points(body["points"])
    return edge.UpdateOperation.delete_points_by_filter(_some(body))


def _overwrite(body: Json) -> edge.UpdateOperation:
    return edge.UpdateOperation.overwrite_payload_by_filter(_some(body), body["payload"])


def _some(body: Json) -> edge.Filter:
    found = _filter(body["filter"])
    assert found is not None
    return found


def _index(body: Json) -> edge.UpdateOperation:
    kinds = {"keyword": edge.PayloadSchemaType.Keyword, "integer": edge.PayloadSchemaType.Integer}
    return edge.UpdateOperation.create_field_index(body["field_name"], kinds[body["field_schema"]])


_UPDATES: dict[str, Callable[[Json], edge.UpdateOperation]] = {
    "PUT points": _upsert,
    "POST points/delete": _delete,
    "PUT points/payload": _overwrite,
    "PUT index": _index,
}


class Server(ThreadingHTTPServer):
    """Serves the collections in a folder on the loopback address.

    Args:
        folder: of the collections.
        port: 0 for any.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.collections = Collections(folder)
        self.requests: list[str] = []
        self.fault_before: Fault | None = None
        self.fault_after: Fault | None = None
        super().__init__(("127.0.0.1", port), Handler)

    def address(self, gallery: str, **parameters: str) -> str:
        """Of a gallery on it."""
        more = "&".join(f"{key}={value}" for key, value in parameters.items())
        return f"qdrant://127.0.0.1:{self.server_address[1]}/{gallery}{'?' if more else ''}{more}"


class Handler(BaseHTTPRequestHandler):
    """Answers requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's
        """Nothing is logged."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        content = self.rfile.read(length)
        if len(content) < length:  # the client was killed
            self.close_connection = True
            return
        body = json.loads(content) if length else {}
        self.server.requests.append(f"{self.command} {parts.path}")
        try:
            self._fail(self.server.fault_before, parts.path, body)
            result = self.server.collections.answer(self.command, parts.path, parse_qs(parts.query), body)
            self._fail(self.server.fault_after, parts.path, body)
            status, said = 200, {"result": result, "status": "ok", "time": 0.0}
        except Refused as problem:
            status, said = problem.status, {"status": {"error": str(problem)}, "time": 0.0}
        except (ValueError, TypeError, LookupError, AssertionError, RuntimeError) as problem:
            status, said = 400, {"status": {"error": f"{type(problem).__name__}: {problem}"}, "time": 0.0}
        if status < 0:  # the connection is lost
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = json.dumps(said, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _fail(self, fault: Fault | None, path: str, body: Json) -> None:
        found = None if fault is None else fault(self.command, path, body)
        if found is not None:
            raise Refused(*found)

    do_GET = do_PUT = do_POST = _answer  # noqa: N815 - the base class's


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A temporary folder where syncing takes no time, if there is such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@contextmanager
def running_server(folder: Path, port: int = 0) -> Iterator[Server]:
    """The stand-in in a thread of this process."""
    server = Server(folder, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="qdrant")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.collections.close()


if __name__ == "__main__":
    with Server(Path(sys.argv[1]), int(sys.argv[2])) as serving:
        print("serving", flush=True)
        serving.serve_forever()
