"""Answers survive JSON, are what the service's own shapes take, and nonsense is a typed error."""

from __future__ import annotations

import dataclasses
import json
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vultus.client
from vultus.client import DetectAnswer, PadAnswer, SubjectPage, VerifyAnswer
from vultus.client.decode import decoded
from vultus.errors import BadAnswer
from vultus.service import schemas

WHOLE = {"match": True, "band": "high", "model": "m", "threshold": 0.5, "faces": [1, 1], "boxes": [[0, 1, 2, 3]]}
NAMES = [
    n for n in vultus.client.__all__ if n not in {"Address", "Client", "Retries", "JobAnswer", "JobPage", "AuditPage"}
]
finite = st.floats(allow_nan=False, allow_infinity=False)
moments = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))


@pytest.fixture(autouse=True, scope="module")
def _kinds() -> None:
    st.register_type_strategy(float, finite)
    st.register_type_strategy(datetime, moments)
    st.register_type_strategy(str, st.text(string.printable, max_size=5))


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str) -> None:
    kind = getattr(vultus.client, name)

    @given(st.from_type(kind))
    @settings(max_examples=8, deadline=None, database=None)
    def law(answer: Any) -> None:
        text = json.dumps(dataclasses.asdict(answer), default=datetime.isoformat)
        assert decoded(kind, json.loads(text)) == answer
        getattr(schemas, name).model_validate_json(text)

    law()


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (DetectAnswer, None, "answer is of the type NoneType; expected an object"),
        (DetectAnswer, {}, "answer lacks model"),
        (DetectAnswer, {"model": 1}, r"answer.model is of the type int; expected str"),
        (DetectAnswer, {"model": "m", "width": True}, "answer.width"),
        (DetectAnswer, {"model": "m", "width": 1, "height": 1, "faces": {}}, "answer.faces"),
        (DetectAnswer, {"model": "m", "width": 1, "height": 1, "faces": [{"box": [1, 2, 3]}]}, r"faces\[0\].box"),
        (VerifyAnswer, WHOLE | {"band": "sure"}, "answer.band"),
        (VerifyAnswer, WHOLE | {"threshold": True}, "answer.threshold"),
        (VerifyAnswer, WHOLE | {"pad": {"detector": "x"}}, "answer.pad"),
        (VerifyAnswer, WHOLE | {"score": "0.5"}, "answer.score"),
        (SubjectPage, {"subjects": [], "next": 1}, "answer.next"),
        (tuple[int, ...], "12", "expected a list"),
    ],
)
def test_nonsense_names_its_place(kind: type, value: object, words: str) -> None:
    with pytest.raises(BadAnswer, match=words):
        decoded(kind, value)


def test_what_a_newer_service_adds_is_passed_over_and_defaults_act() -> None:
    found = decoded(VerifyAnswer, WHOLE | {"liveness": 1})
    assert (found.pad, found.score, found.boxes) == ("not_evaluated", None, ((0.0, 1.0, 2.0, 3.0),))
    pad = {"detector": "d", "attack": True, "new": 0}
    assert decoded(VerifyAnswer, WHOLE | {"pad": pad}).pad == PadAnswer("d", True)
