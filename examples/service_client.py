"""Enrol, identify and delete with the Python client: python examples/service_client.py URL KEY PHOTO OTHER_PHOTO_OF_THE_SAME.

Start a service first: vultus serve --data demo-data. It shows URL and first key.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vultus.client import Client
from vultus.errors import SubjectUnknown


def main(arguments: Sequence[str]) -> int:
    """Run the example."""
    url, key, photo, other = arguments
    with Client(url, key=key) as client:
        client.create_gallery("example")
        try:
            enrolled = client.enrol("example", "ada", photo, name="Ada L.", consent="form 12")
            print(f"enrolled: {enrolled.subject_id}, {enrolled.templates} template of {enrolled.model}")

            found = client.identify("example", other, fpir=0.01)
            for candidate in found.candidates:
                print(
                    f"identified: {candidate.subject_id} ({candidate.name}), {candidate.band}, threshold {found.threshold:.3f}"
                )
            print(f"liveness: {found.pad}")

            gone = client.delete_subject("example", "ada")
            print(f"deleted: {gone.templates} template, erased: {gone.erased}")
            try:
                client.subject("example", "ada")
            except SubjectUnknown as problem:
                print(f"gone: {problem.code}, request {problem.request_id}")
        finally:
            client.delete_gallery("example")
    return 0 if found.match else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
