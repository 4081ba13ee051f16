"""C++ kernels for training on a CPU. This machine's C++ compiler compiles them on first use."""

import functools
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch

# Compiler options by torch.backends.cpu.get_cpu_capability().
FLAGS = {"AVX2": ["-mavx2", "-mfma"], "AVX512": ["-mavx512f", "-mfma"]}
PATIENCE = 3.0  # seconds of compiling before the log says so

log = logging.getLogger("srgan")


@functools.cache
def is_loaded(source: Path, what: str) -> bool:
    """Load the operators of a C++ file and say whether that worked. The first use compiles them.

    They work on x86-64 Linux with AVX2 and a C++ compiler. Where compiling fails, the log says so
    in one line.

    Args:
        what: the operators compute, in the plural, for the log.
    """
    flags = FLAGS.get(torch.backends.cpu.get_cpu_capability())
    if flags is None or sys.platform != "linux":
        return False
    line = f"compiling faster {what} for this processor, once"
    notice = threading.Timer(PATIENCE, log.warning, [line])
    notice.start()
    try:
        ops: Any = torch.ops
        ops.load_library(_library(source, flags))
    except subprocess.CalledProcessError as error:
        reason = next((line for line in error.stderr.splitlines() if "error" in line), str(error))
    except OSError as error:
        reason = str(error)
    else:
        return True
    finally:
        notice.cancel()
    log.warning("%s run at PyTorch's speed: the faster ones did not compile: %s", what, reason)
    return False


def _library(source: Path, flags: list[str]) -> Path:
    """The path of a C++ file compiled for this PyTorch, in the user's cache.

    Raises:
        subprocess.CalledProcessError: the compiler failed.
        OSError: there is no compiler, or the cache cannot be written.
    """
    compiler = os.environ.get("CXX", "c++")
    torch_folder = Path(torch.__file__).parent
    abi = int(torch.compiled_with_cxx11_abi())
    command = [compiler, "-std=c++20", "-O3", "-fPIC", "-shared", "-fopenmp", *flags]
    command += [f"-D_GLIBCXX_USE_CXX11_ABI={abi}", f"-I{torch_folder / 'include'}"]
    command += [str(source), f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"]
    key = hashlib.sha256(source.read_bytes())
    key.update(" ".join([torch.__version__, *command]).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srgan"
    library = cache / f"{source.stem}-{key.hexdigest()[:16]}.so"
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Several processes may compile at once. The rename shows only a complete library.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            part = Path(folder) / library.name
            subprocess.run([*command, "-o", part], check=True, capture_output=True, text=True)
            part.replace(library)
    return library
