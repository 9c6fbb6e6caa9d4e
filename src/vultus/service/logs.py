"""Logs: one JSON object a line, of known members only, so that no picture, embedding, name or key gets in."""

from __future__ import annotations

import json
import logging
import time
from typing import TextIO

MEMBERS = ("request", "method", "route", "status", "milliseconds", "code", "kind", "at", "model", "job")


class JsonLines(logging.Formatter):
    """A record as one line: time, level, source, a fixed message, and the members above; no trace, no argument."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        own = record.name.startswith("vultus")
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "from": record.name,
            # what other libraries say may hold anything: their fixed text is kept, their arguments are not
            "message": str(record.msg) if own or not record.args else str(record.msg).partition("%")[0].strip(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["kind"] = record.exc_info[0].__name__
        line.update({name: getattr(record, name) for name in MEMBERS if hasattr(record, name)})
        return json.dumps(line, ensure_ascii=True, default=str)


def use_json_lines(stream: TextIO) -> None:
    """Send all logs to a stream as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("vultus.service", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.INFO)
