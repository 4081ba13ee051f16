"""The option that lets the fuzz tests run for hours."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fuzz-hours`."""
    parser.addoption(
        "--fuzz-hours",
        type=float,
        default=0.0,
        metavar="HOURS",
        help="fuzz picture files for so long in all, with new random mutations in every run",
    )
