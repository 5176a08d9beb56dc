"""What drawing faces needs and does not need to be installed."""

import subprocess
import sys


def run(code: str) -> str:
    """What a Python process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_faces_do_not_import_torch() -> None:
    code = "import sys, face2exp_lib.rendering; print('torch' in sys.modules)"
    assert run(code) == "False"


def test_without_numba_specs_are_made_and_drawing_says_what_to_install() -> None:
    code = """
import sys
sys.modules["numba"] = None  # as if it were not installed
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.rendering import FaceSpec, render_face
spec = FaceSpec(count=3)
try:
    render_face(spec, 0)
except Face2ExpError as error:
    print(error)
"""
    told = run(code)
    assert "numba" in told
    assert 'pip install "face2exp-lib[render]"' in told
