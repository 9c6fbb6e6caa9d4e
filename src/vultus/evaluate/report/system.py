"""The system that a report is about: what it extracted, what was measured, and what identifies it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vultus._export import export
from vultus.align import ALIGNMENT
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.open_set import IdentificationResult
from vultus.evaluate.verification import VerificationResult
from vultus.recognizer import Recognizer


@export("vultus.evaluate.Evaluated")
@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """One system on a protocol.

    Args:
        extraction: templates of the protocol's files.
        result: its figures.
        facts: what identifies the system, by name; see `system_facts`.
        name: how plots and tables call it; made from the model's id where empty.
        searches: figures of identification on the same photos, where they were measured.
    """

    extraction: Extraction
    result: VerificationResult
    facts: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    searches: IdentificationResult | None = None


@export("vultus.evaluate.system_facts")
def system_facts(recognizer: Recognizer) -> dict[str, str]:
    """What identifies a recognizer and decides its results, by name: weights, licences, alignment, options."""
    facts = {"model_id": recognizer.model_id}
    for part, manifest in (("embedder", recognizer.embedder.manifest), ("detector", recognizer.detector.manifest)):
        facts[part] = manifest.name
        facts[f"{part} sha256"] = manifest.sha256
        facts[f"{part} licence"] = manifest.licence.name
        facts[f"{part} training data"] = manifest.licence.training_data
    facts["alignment"] = f"{recognizer.embedder.spec.template}, {ALIGNMENT}"
    facts["embedding"] = f"{recognizer.embedder.spec.dimension} numbers, compared by cosine"
    facts["mirrored photo used"] = "yes" if recognizer.mirror else "no"
    return facts


def labels(systems: Sequence[Evaluated]) -> list[str]:
    """A short name for each system, all different."""
    names = [s.name or _short(s.extraction.model_id) for s in systems]
    return names if len(set(names)) == len(names) else [f"{n} ({'AB'[i]})" for i, n in enumerate(names)]


def _short(model_id: str) -> str:
    """The embedder's name, and whether the mirrored photo was used, out of a model's id."""
    name = model_id.split("@")[0].split("+")[0] or "system"
    return f"{name} +mirror" if model_id.endswith("+mirror") else name
