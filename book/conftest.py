"""What nbval compares when it executes the chapters (`pytest --nbval book`)."""

import pytest


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Leave figures out, whose last digits differ between processors, and progress bars.

    The rounded number printed beside each figure is compared, and a browser test draws it.
    """
    if hasattr(collector, "skip_compare"):  # nbval's notebooks
        collector.skip_compare += ("application/vnd.plotly.v1+json", "stderr")
