"""What importing costs, seen from a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import vultus

HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "matplotlib",
    "typer",
    "fastapi",
    "starlette",
    "rich",
    "scipy",
    "sklearn",
    "skimage",
)


def loaded_after(code: str) -> tuple[str, set[str]]:
    """What the code prints, and the top-level modules that it has loaded."""
    report = "import sys, json; print(); print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    *printed, modules = done.stdout.splitlines()
    return "\n".join(printed).strip(), set(json.loads(modules))


def test_import_loads_nothing_heavy() -> None:
    printed, modules = loaded_after("import vultus")
    assert printed == ""
    assert "vultus" in modules
    assert modules.isdisjoint({*HEAVY, "numpy", "PIL", "cv2"})


def test_using_arrays_loads_neither_runtime_nor_frameworks() -> None:
    _, modules = loaded_after("import vultus; vultus.similarity, vultus.read_image, vultus.fit_similarity")
    assert {"numpy", "PIL"} <= modules
    assert modules.isdisjoint(HEAVY)


def test_the_whole_core_loads_no_training_or_service_framework() -> None:
    _, modules = loaded_after("import vultus\nfor name in vultus.__all__: getattr(vultus, name)")
    assert modules.isdisjoint({"torch", "matplotlib", "typer", "fastapi", "starlette", "onnx"})


def test_version_is_answered_before_anything_is_loaded() -> None:
    printed, modules = loaded_after(
        "import sys; sys.argv = ['vultus', '--version']; from vultus.cli import main; main()"
    )
    assert printed == f"vultus {vultus.__version__}"
    assert modules.isdisjoint({*HEAVY, "numpy", "PIL", "cv2"})


def test_running_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "vultus", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"vultus {vultus.__version__}\n"
