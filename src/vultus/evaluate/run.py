"""The usual evaluations, each in one call: read the protocol, extract, measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vultus._export import export
from vultus.evaluate.extraction import extract
from vultus.evaluate.protocols.lfw import read_lfw
from vultus.evaluate.verification import RATES, VerificationResult, measure_verification
from vultus.recognizer import Recognizer


@export("vultus.evaluate.lfw")
def lfw(
    root: str | Path,
    recognizer: Recognizer,
    *,
    rates: Sequence[float] = RATES,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> VerificationResult:
    """LFW View 2: accuracy over ten folds, EER, and FNMR at false match rates down to 1e-5.

    The 3,000 non-mated pairs of View 2 support an FMR of 1e-2; thresholds for lower ones come from all cross-subject pairs
    of its photos, one photo a subject. The face nearest to the middle of a photo is the one that its name belongs to.

    Args:
        root: folder with `pairs.txt` and a folder of photos for each name.
        recognizer: the system to evaluate.
        rates: false match rates to give FNMR at.
        cache: folder of the cache of templates; the user's cache folder unless told otherwise.
        progress: called with the number of photos done, each time some are done.

    Raises:
        SourceUnavailable, BadArgument: no such data, or pairs.txt is damaged.
    """
    pairs = read_lfw(root)
    extraction = extract(pairs.files, recognizer, policy="central", cache=cache, progress=progress)
    return measure_verification(pairs, extraction, rates=rates, cross_pairs=True)
