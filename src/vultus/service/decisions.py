"""How decisions are told: exactly to keys that may know scores, in coarse bands to all others."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.service.access import Caller
from vultus.service.pad import AttackDetector, PadVerdict
from vultus.service.schemas import Band, Box, Face, Pad, PadAnswer
from vultus.types import Faces, SearchThreshold, Threshold


def band_of(score: float, *, limit: float, measured: Sequence[Threshold]) -> Band:
    """How alike, coarsely: "high" from the strictest measured threshold on, "likely" from the limit on, else "below"."""
    if score < limit:
        return "below"
    return "high" if score >= max((t.value for t in measured), default=limit) else "likely"


def basis_of(basis: Threshold | SearchThreshold | None) -> str | None:
    """In words, what a threshold was measured on."""
    if basis is None:
        return None
    if isinstance(basis, Threshold):
        return f"{basis.data}: {basis.comparisons} comparisons, FMR {basis.low:.3g} to {basis.high:.3g}"
    rates = f"FPIR {basis.low:.3g} to {basis.high:.3g}"
    return f"{basis.data}: {basis.searches} searches in {basis.gallery_size} templates, {rates}"


def pad_of(detector: AttackDetector | None, verdicts: Sequence[PadVerdict | None], caller: Caller) -> Pad:
    """What every answer says of presentation attacks."""
    seen = [v for v in verdicts if v is not None]
    if detector is None or not seen:
        return "not_evaluated"
    scores = [v.score for v in seen if v.score is not None]
    score = scores[0] if len(scores) == 1 and caller.may("score") else None
    return PadAnswer(detector=detector.name, attack=attacked(seen), score=score)


def attacked(verdicts: Sequence[PadVerdict | None]) -> bool:
    """Whether one of the presentations was taken for an attack."""
    return any(v is not None and v.attack for v in verdicts)


def box_of(face: Faces) -> Box:
    """(x0, y0, x1, y1) of one face, to a hundredth of a pixel."""
    x0, y0, x1, y1 = (round(float(v), 2) for v in face.boxes[0])
    return x0, y0, x1, y1


def face_of(face: Faces) -> Face:
    """One face as the contract has it."""
    points = [(round(float(x), 2), round(float(y), 2)) for x, y in face.landmarks[0]]
    return Face(box=box_of(face), landmarks=points, detection=round(float(face.scores[0]), 4))
