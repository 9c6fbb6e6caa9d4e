"""What Schemathesis is told to leave out; its own process loads this file."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """No empty list in a form, where it has no shape: nothing is sent, which is right for a field that may be missing."""
    form = case.media_type == "multipart/form-data" and isinstance(case.body, dict)
    return not form or all(value != [] for value in case.body.values())
