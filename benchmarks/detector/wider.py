"""Average precision of a trained detector beside YuNet's, on the marked photos that it was not trained on.

python -m benchmarks.detector.wider --photos ../shared/data/detect/wider_val200 --model out/detector/detector-small.toml
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from vultus import Detector
from vultus.evaluate import measure_detection, read_marked_photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=4, help="as data.folds of the recipe")
    parser.add_argument("--fold", type=int, default=0, help="the photos that were kept out of training")
    parser.add_argument("--score", type=float, default=0.05, help="detections from this score on are counted")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    photos = [p for i, p in enumerate(read_marked_photos(given.photos)) if i % given.folds == given.fold]
    rows = []
    print(f"fold {given.fold} of {given.folds}: {len(photos)} photos; AP at an overlap of one half")
    for smallest in (16.0, 24.0, 48.0):
        for name in (str(given.model), "yunet-2023mar"):
            begun = time.process_time()
            result = measure_detection(
                photos, Detector(name, threads=1), smallest=smallest, min_face=smallest, score=given.score
            )
            seconds = time.process_time() - begun
            print(
                f"faces from {smallest:3.0f} px ({result.faces:4d})  {result.detector:34s} AP {result.average_precision:.3f}  "
                f"recall {result.recall:.3f}  {1000 * seconds / len(photos):5.0f} ms a photo",
                flush=True,
            )
            rows.append(
                {
                    "smallest": smallest,
                    "detector": result.detector,
                    "faces": result.faces,
                    "ap": result.average_precision,
                }
            )
    if given.json is not None:
        given.json.write_text(json.dumps({"fold": given.fold, "folds": given.folds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
