"""Print the one-page book as a PDF with Chromium; figures appear in their first state.

python -m book.tools.print FOLDER FILE.pdf
"""

import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRAWING_MS = 60_000  # of the page's clock, for formulas and figures
TIMEOUT_S = 600


FOLDED = re.compile(r'<details(?! class="figure-data")')


class Quiet(SimpleHTTPRequestHandler):
    """A server that tells nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> int:
    folder, file = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(
            "The PDF needs Chromium (Debian: apt-get install chromium)",
            file=sys.stderr,
        )
        return 1
    # Sphinx writes the one page where the root of the book lies, in a folder, and its addresses of
    # scripts and pictures as if it lay above.
    (one,) = folder.glob("*/index.html")
    page = folder / "print.html"
    # Paper unfolds nothing: solutions and folded cells are printed open.
    page.write_text(FOLDED.sub("<details open", one.read_text()))
    with (
        ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Quiet, directory=page.parent)
        ) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={profile}",
                f"--virtual-time-budget={DRAWING_MS}",
                "--no-pdf-header-footer",
                f"--print-to-pdf={file}",
                f"http://127.0.0.1:{server.server_port}/{page.name}",
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        server.shutdown()
    if done.returncode or not file.exists():
        print(done.stderr, file=sys.stderr)
        return 1
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
