"""`python -m face2exp_lib.cli`, as torchrun starts it."""

import sys

from face2exp_lib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
