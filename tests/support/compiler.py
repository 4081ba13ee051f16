"""Whether our C++ files must compile here: where they must, tests of them fail, not skip."""

import os
import shlex
import shutil
import sys

import pytest

from srgan.engines.processor import processor_flags


def needs_compiler() -> None:
    """Skip the test where our C++ files cannot run."""
    compiler = shlex.split(os.environ.get("CXX") or "c++")[0]
    suits = sys.platform == "linux" and {"avx2", "fma"} <= processor_flags()
    if not suits or not shutil.which(compiler):
        pytest.skip("needs Linux, AVX2 and a C++ compiler")
