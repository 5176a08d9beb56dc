"""Write what is made from data and results: pages, exercises in the chapters, the picture.

python -m book.tools.generate            write what is out of step
python -m book.tools.generate --check    name it, write nothing
"""

import argparse
import sys
from pathlib import Path

from book.tools import (
    data_sets,
    exercises,
    ledger,
    overview,
    scale,
    silent,
    stored_figures,
    teach,
)
from face2exp_lib.runtime.storage import write_text

BOOK = Path(__file__).parents[1]


def generated() -> dict[Path, str]:
    """File -> what it should hold."""
    files = {
        BOOK / "data_sets.md": data_sets.page(),
        BOOK / "first_page.html": stored_figures.first_page(),
        BOOK / "ledger.md": ledger.page(),
        BOOK / "overview.svg": overview.picture(),
        BOOK / "scale.md": scale.page(),
        BOOK / "silent.md": silent.page(),
        BOOK / "solutions.md": exercises.solutions(),
        BOOK / "teach.md": teach.page(),
    }
    chapters = (path for path in sorted(BOOK.glob("*.md")) if path not in files)
    return files | {
        path: exercises.with_exercises(path.read_text()) for path in chapters
    }


def out_of_step() -> dict[Path, str]:
    """Of these the files that hold something else."""
    return {
        path: content
        for path, content in generated().items()
        if not path.exists() or path.read_text() != content
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--check", action="store_true", help="compare, write nothing"
    )
    check = parser.parse_args().check
    for path, content in out_of_step().items():
        if check:
            print(f"{path.name}: out of step", file=sys.stderr)
        else:
            write_text(path, content)
            print(f"{path.name}: written")
    return int(check and bool(out_of_step()))


if __name__ == "__main__":
    sys.exit(main())
