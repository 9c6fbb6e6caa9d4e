"""What is counted, for Prometheus; nothing of it is about a person."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        at = self._registry
        self.requests = Counter(
            "vultus_requests", "Requests by route, method and status.", ("route", "method", "status"), registry=at
        )
        self.seconds = Histogram(
            "vultus_request_seconds", "Time to the answer.", ("route",), buckets=_SECONDS, registry=at
        )
        self.rejected = Counter("vultus_rejected", "Requests refused for overload.", registry=at)
        self.inside = Gauge("vultus_inside", "Requests with pictures being worked on.", registry=at)
        self.batch = Histogram(
            "vultus_batch_faces", "Faces in a run of the embedder.", buckets=(1, 2, 4, 8, 16), registry=at
        )
        self.decoder_deaths = Counter(
            "vultus_decoder_deaths", "Decoding processes that had to be replaced.", registry=at
        )
        self.decisions = Counter("vultus_decisions", "Decisions by kind and outcome.", ("kind", "outcome"), registry=at)
        self.ready = Gauge("vultus_ready", "1 once the model answers.", registry=at)
        self.audit_entries = Gauge("vultus_audit_entries", "Entries in the audit log.", registry=at)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)
