"""The tree of errors: codes are stable, and a bad argument is a ValueError too."""

from __future__ import annotations

import pytest

from vultus import errors
from vultus.errors import VultusError

CODES = {
    "VultusError": "error",
    "BadArgument": "bad_argument",
    "ImageError": "bad_image",
    "ImageParseError": "parse_error",
    "ImageTooLarge": "too_large",
    "UnsupportedImage": "unsupported",
    "SourceUnavailable": "source_unavailable",
    "FaceError": "bad_face",
    "NoFace": "no_face",
    "ManyFaces": "many_faces",
    "BadTemplate": "bad_template",
    "ModelMismatch": "model_mismatch",
    "TooFewComparisons": "too_few_comparisons",
    "NoThreshold": "no_threshold",
    "WeightsError": "bad_weights",
    "ManifestError": "bad_manifest",
    "WeightsMissing": "weights_missing",
    "WeightsMismatch": "sha256_mismatch",
    "LicenceNotAccepted": "licence_not_accepted",
    "GraphError": "bad_graph",
    "SelfTestFailed": "self_test_failed",
    "ProviderUnavailable": "provider_unavailable",
}
BAD_INPUT = (
    errors.BadArgument,
    errors.ImageError,
    errors.FaceError,
    errors.BadTemplate,
    errors.ModelMismatch,
    errors.NoThreshold,
    errors.ManifestError,
)


def test_codes_of_released_errors_stay() -> None:
    assert len(CODES) == 22
    for name, code in CODES.items():
        kind = getattr(errors, name)
        assert issubclass(kind, VultusError)
        assert kind.code == code
        assert kind("reason").code == code
        assert str(kind("reason")) == "reason"


def test_bad_input_is_a_value_error_too() -> None:
    assert len(BAD_INPUT) == 7
    for kind in BAD_INPUT:
        assert issubclass(kind, ValueError)


def test_an_unreadable_source_is_an_os_error_too() -> None:
    with pytest.raises(OSError, match="gone"):
        raise errors.SourceUnavailable("gone")
