"""The checks themselves: each takes a system and says what it saw, or raises."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vultus.compare import score as score_of
from vultus.errors import BadArgument, FaceError, VultusError
from vultus.evaluate.conformance.child import Answer, Task, run_in_processes
from vultus.evaluate.conformance.photos import Photos
from vultus.evaluate.extraction import extract
from vultus.image import ImageSource, read_image
from vultus.recognizer import Recognizer, Sample
from vultus.types import FloatArray, Template

_CLOSE = 1e-5  # of two rows: thread counts may change the order of sums
_ALIKE = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What the checks work with; `reference` holds the sample of each portrait and its variants."""

    recognizer: Recognizer
    embedder: Path
    detector: Path
    mirror: bool
    accept_licence: bool
    base: Path
    photos: Photos
    reference: list[Sample]


class NotConforming(Exception):
    """A check that failed, and what was seen."""


def references(setup: Setup) -> list[Sample]:
    """The sample of each portrait and its variants, by the system of the setup.

    Raises:
        BadArgument: a portrait shows no face, or several.
        NotConforming: a portrait fails for a reason that lies in the system.
    """
    samples = []
    found = setup.recognizer.extract(setup.photos.faces)
    for path, sample in zip(setup.photos.faces, found, strict=True):
        if isinstance(sample, FaceError):
            raise BadArgument(f"{Path(path).name} gives no template ({sample.code}); pass portraits with one face each")
        if isinstance(sample, VultusError):
            raise NotConforming(f"{Path(path).name} gives no template: {sample.code}: {sample}")
        samples.append(sample)
    return samples


# --- one process ------------------------------------------------------------------------------------------------------


def _return_codes(setup: Setup) -> str:
    wrong = []
    cases = setup.photos.refused
    for what, source, policy, expected in cases:
        code = _code(setup.recognizer, source, policy)
        if code not in expected:
            wrong.append(f"{what} gives {code} in place of {' or '.join(expected)}")
    stranger = Template(setup.reference[0].template.vector, "another model")
    try:
        setup.recognizer.compare(setup.reference[0].template, stranger)
        wrong.append("templates of two models are compared in place of model_mismatch")
    except VultusError as problem:
        if problem.code != "model_mismatch":
            wrong.append(f"templates of two models give {problem.code} in place of model_mismatch")
    if wrong:
        raise NotConforming("; ".join(wrong))
    return f"{len(cases) + 1} kinds of bad input give the code that they should"


def _code(recognizer: Recognizer, source: ImageSource, policy: str) -> str:
    try:
        recognizer.sample(source, policy=policy)  # type: ignore[arg-type]
    except VultusError as problem:
        return problem.code
    except Exception as problem:  # noqa: BLE001 - an error without a code is what is looked for
        return f"an untyped {type(problem).__name__}"
    return "a template"


def _blank(setup: Setup) -> str:
    files = [setup.photos.faces[0], setup.photos.empty]
    found = extract(files, setup.recognizer, cache=setup.base / "cache")
    if found.enrolled.tolist() != [True, False]:
        raise NotConforming(f"a photo without a face is enrolled: {found.failures or 'no failure was noted'}")
    if found.rows[1].any():
        raise NotConforming("the template of a photo without a face is not blank")
    scores = found.scores([0, 1, 1], [1, 0, 1])
    known = setup.recognizer.calibration.thresholds if setup.recognizer.calibration else ()
    lowest = min([-1.0, *(t.value for t in known)])
    if (scores >= lowest).any() or np.isnan(scores).any():
        raise NotConforming(f"comparisons with a blank template score {scores.tolist()}, which can match")
    return "a failed enrolment gives a blank template, whose comparisons score -inf, below every threshold"


def _form(setup: Setup) -> str:
    dimension, rows = setup.recognizer.embedder.spec.dimension, _rows(setup.reference)
    if rows.shape[1] != dimension or not np.isfinite(rows).all():
        raise NotConforming(
            f"templates of shape {rows.shape}, finite: {bool(np.isfinite(rows).all())}; expected {dimension}"
        )
    length = float(np.abs(np.linalg.norm(rows.astype(np.float64), axis=1) - 1).max())
    if length > _CLOSE:
        raise NotConforming(f"the length of a template is off 1 by {length:.2g}")
    return f"{len(rows)} templates are finite, of dimension {dimension} and of length 1 within {length:.1g}"


def _deterministic(setup: Setup) -> str:
    _equal(_rows(setup.reference), _rows(references(setup)), "when they are extracted a second time")
    system, photos = setup.recognizer, setup.photos.faces
    crops = [system.align(photo, sample.face) for photo, sample in zip(photos, setup.reference, strict=True)]
    one_by_one = np.concatenate([system.embed(crop) for crop in crops])
    apart = float(np.abs(system.embed(np.concatenate(crops)) - one_by_one).max())
    if apart > _CLOSE:
        raise NotConforming(f"in a batch a number of a template differs by {apart:.2g}; at most {_CLOSE:g} is allowed")
    return f"{len(photos)} templates are the same bit by bit a second time, and in a batch within {apart:.1g}"


def _self_score(setup: Setup) -> str:
    anew = setup.recognizer.sample(setup.photos.faces[0]).template
    scores = [score_of(s.template, s.template) for s in setup.reference]
    scores.append(score_of(setup.reference[0].template, anew))
    off = max(abs(s - 1.0) for s in scores)
    if off > _CLOSE:
        raise NotConforming(f"a photo compared with itself scores off 1 by {off:.2g}")
    return f"a photo compared with itself scores 1 within {off:.1g}"


def _symmetric(setup: Setup) -> str:
    templates = [s.template for s in setup.reference]
    for i, one in enumerate(templates):
        for j, other in enumerate(templates[:i]):
            scores = {score_of(one, other), score_of(other, one), score_of(one, other)}
            if len(scores) > 1:
                names = Path(setup.photos.faces[i]).name, Path(setup.photos.faces[j]).name
                raise NotConforming(f"{names[0]} and {names[1]} score {sorted(scores)} depending on their order")
    twin = setup.recognizer.sample(setup.photos.twin).template.vector
    _equal(templates[0].vector, twin, "for the same content under another name")
    return f"{len(templates) * (len(templates) - 1) // 2} comparisons, mirrored photos among them, do not depend on the order"


def _apart(setup: Setup) -> str:
    templates = {Path(f).name: s.template for f, s in zip(setup.photos.faces, setup.reference, strict=True)}
    one, other, mirrored = (templates[n] for n in ("portrait0.png", "portrait1.png", "portrait0-mirrored.png"))
    between, within = score_of(one, other), score_of(one, mirrored)
    if between > _ALIKE or between >= within:
        raise NotConforming(f"two people score {between:.4f}, and one of them with the mirrored photo {within:.4f}")
    return f"two people score {between:.4f}, and one of them with the mirrored photo {within:.4f}"


def _unchanged(setup: Setup) -> str:
    pixels = read_image(setup.photos.faces[0]).copy()
    before = pixels.copy()
    setup.recognizer.sample(pixels)
    if not np.array_equal(pixels, before):
        raise NotConforming("the caller's pixels were changed")
    pixels.flags.writeable = False
    setup.recognizer.sample(pixels)
    return "the caller's pixels stay as they were, and may be read-only"


def _threads(setup: Setup) -> str:
    reference = _rows(setup.reference)
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(setup.recognizer.sample, setup.photos.faces))
    _equal(reference, _rows(shared), "when four threads use one system")
    four = Recognizer.load(
        setup.embedder,
        detector=setup.detector,
        mirror=setup.mirror,
        threads=4,
        cache=setup.base / "cache",
        accept_licence=setup.accept_licence,
    )
    apart = float(np.abs(_rows(references(replace(setup, recognizer=four))) - reference).max())
    if apart > _CLOSE:
        raise NotConforming(
            f"with four threads a number of a template differs by {apart:.2g}; at most {_CLOSE:g} is allowed"
        )
    return f"four threads give what one gives, within {apart:.1g}"


def _rows(samples: Sequence[Sample]) -> FloatArray:
    return np.stack([s.template.vector for s in samples])


def _equal(reference: FloatArray, rows: FloatArray, what: str) -> None:
    if reference.shape != rows.shape or not np.array_equal(reference, rows):
        size = float(np.abs(reference - rows).max()) if reference.shape == rows.shape else float("nan")
        raise NotConforming(f"templates differ {what}, by up to {size:.2g}")


# --- other processes --------------------------------------------------------------------------------------------------


def _task(setup: Setup, *, cache: str, photos: Sequence[str], model: Path | None = None) -> Task:
    """A task in folders of its own below the base; only the cache may be written to."""
    for name in ("home", "temporary", "working"):
        (setup.base / name).mkdir(exist_ok=True)
    folder = model or setup.embedder.parent
    return Task(
        embedder=str(folder / setup.embedder.name),
        detector=str(folder / setup.detector.name),
        mirror=setup.mirror,
        accept_licence=setup.accept_licence,
        cache=str(setup.base / cache),
        home=str(setup.base / "home"),
        temporary=str(setup.base / "temporary"),
        photos=tuple(photos),
    )


def _one_process(setup: Setup, task: Task) -> Answer:
    return run_in_processes([task], cwd=setup.base / "working")[0]


def _writes(setup: Setup) -> str:
    task = _task(setup, cache="cache-writes", photos=[*setup.photos.faces, setup.photos.empty])
    before = _tree(setup.base, leave_out="cache-writes")
    answer = _one_process(setup, task)
    after = _tree(setup.base, leave_out="cache-writes")
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if changed or answer.written:
        raise NotConforming(f"written beside the cache: {', '.join([*changed, *answer.written])}")
    if answer.called:
        raise NotConforming(f"calls to an address were seen: {', '.join(answer.called)}")
    return "nothing is written outside the cache that was named, and no call to an address was seen"


def _tree(base: Path, *, leave_out: str) -> dict[str, str]:
    """The sha256 of each file below a folder, and the folders, by path."""
    return {
        str(path.relative_to(base)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(base.rglob("*"))
        if path.relative_to(base).parts[0] != leave_out
    }


def _moved(setup: Setup) -> str:
    there = setup.base / "elsewhere" / "a folder"
    there.mkdir(parents=True)
    for path in setup.embedder.parent.iterdir():
        (there / path.name).write_bytes(path.read_bytes())
    hidden = setup.embedder.parent.rename(setup.base / "gone")
    try:
        answer = _one_process(setup, _task(setup, cache="cache-moved", photos=setup.photos.faces, model=there))
    finally:
        hidden.rename(setup.embedder.parent)
    if answer.model_id != setup.recognizer.model_id:
        raise NotConforming(f"the moved system calls itself {answer.model_id!r}, not {setup.recognizer.model_id!r}")
    _same_rows(setup, answer.rows, "after the folder was moved")
    return "manifest and weights give the same templates after their folder was moved"


def _processes(setup: Setup) -> str:
    photos = setup.photos.faces
    parts = [photos[i::4] for i in range(4)]
    tasks = [_task(setup, cache="cache-processes", photos=part) for part in parts]
    answers = run_in_processes(tasks, cwd=setup.base / "working")
    rows = [answers[i % 4].rows[i // 4] for i in range(len(photos))]
    _same_rows(setup, rows, "in four processes")
    return "four processes that start at once on an empty cache give the same templates as one"


def _same_rows(setup: Setup, rows: Sequence[str], what: str) -> None:
    for path, sample, row in zip(setup.photos.faces, setup.reference, rows, strict=True):
        if row != sample.template.vector.tobytes().hex():
            seen = row if ":" in row else "another template"
            raise NotConforming(f"{Path(path).name} gives {seen} {what}")


CHECKS: dict[str, Callable[[Setup], str]] = {
    "return codes": _return_codes,
    "blank template": _blank,
    "template form": _form,
    "deterministic": _deterministic,
    "self score": _self_score,
    "symmetric": _symmetric,
    "tells people apart": _apart,
    "inputs unchanged": _unchanged,
    "threads": _threads,
    "writes": _writes,
    "moved folder": _moved,
    "processes": _processes,
}
