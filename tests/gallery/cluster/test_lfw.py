"""Real faces, with every default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus import Recognizer, Sample
from vultus.evaluate import bcubed, pairwise
from vultus.gallery.cluster import group

LFW = Path(__file__).parents[3] / ".." / "shared" / "data" / "lfw"
PEOPLE, EACH, ONCE = 10, 4, 15


@pytest.mark.data
@pytest.mark.skipif(not LFW.is_dir(), reason="needs the photos of ../shared/data/lfw")
def test_a_few_people_are_found_again(recognizer: Recognizer) -> None:
    folders = [(f.name, sorted(f.glob("*.jpg"))) for f in sorted(LFW.iterdir()) if f.is_dir()]
    several = [(name, photos[:EACH]) for name, photos in folders if len(photos) >= EACH][:PEOPLE]
    once = [(name, photos) for name, photos in folders if len(photos) == 1][:ONCE]
    named = [(name, photo) for name, photos in several + once for photo in photos]
    samples = list(recognizer.extract([photo for _, photo in named], policy="central"))
    assert all(isinstance(s, Sample) for s in samples)
    rows = np.stack([s.template.vector for s in samples if isinstance(s, Sample)])
    quality = np.concatenate([s.quality.overall for s in samples if isinstance(s, Sample)])
    groups = group(rows, model=recognizer.model_id, quality=quality)
    subjects = [name for name, _ in named]
    assert len(subjects) == PEOPLE * EACH + ONCE
    assert pairwise(groups.partition(), subjects).f > 0.95
    assert bcubed(groups.partition(), subjects).f > 0.95
