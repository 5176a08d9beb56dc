"""The sets of a run by its config, as the tests have it at hand."""

from pathlib import Path

from face2exp_lib.config import RunConfig
from face2exp_lib.data.splits import RunData, read_run_data


def run_data(config: RunConfig, root: Path | None) -> RunData:
    """`read_run_data` of a config's own keys."""
    return read_run_data(config.data, config.seed, root)
