"""C++ kernels for CPUs. This machine's C++ compiler compiles them on first use."""

import functools
import hashlib
import logging
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

# Compiler options by the instructions that a processor has, as PyTorch names them.
FLAGS = {"AVX2": ["-mavx2", "-mfma"], "AVX512": ["-mavx512f", "-mfma"]}
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
PATIENCE = 3.0  # seconds of compiling before the log says so

Loaded = TypeVar("Loaded")

log = logging.getLogger("srgan")


class CompilerError(Exception):
    """A file did not compile; the message is one line."""


@functools.cache
def is_loaded(source: Path, what: str) -> bool:
    """Load the PyTorch operators of a C++ file and say whether that worked.

    They work on x86-64 Linux with AVX2 and a C++ compiler. Where compiling fails, the log says so
    in one line.

    Args:
        what: the operators compute, in the plural, for the log.
    """
    import torch

    flags = FLAGS.get(torch.backends.cpu.get_cpu_capability())
    if flags is None or sys.platform != "linux":
        return False
    abi, folder = int(torch.compiled_with_cxx11_abi()), Path(torch.__file__).parent
    flags = [*flags, f"-D_GLIBCXX_USE_CXX11_ABI={abi}"]
    paths = [f"-I{folder / 'include'}", f"-L{folder / 'lib'}", "-ltorch_cpu", "-lc10"]
    try:
        path = compiled(source, what, flags, paths, torch.__version__)
    except CompilerError as error:
        log.warning("%s run at PyTorch's speed: the faster ones did not compile: %s", what, error)
        return False
    ops: Any = torch.ops
    try:
        load(path, ops.load_library)
    except OSError as error:
        log.warning("%s run at PyTorch's speed: the faster ones do not load: %s", what, error)
        return False
    return True


def load(library: Path, loader: Callable[[str], Loaded]) -> Loaded:
    """Load a library that `compiled` made.

    Raises:
        OSError: it is damaged, or of another build. It is gone: the next process compiles it anew.
    """
    try:
        return loader(str(library))
    except OSError:
        library.unlink(missing_ok=True)
        raise


def compiled(
    source: Path, what: str, flags: Sequence[str], linked: Sequence[str] = (), version: str = ""
) -> Path:
    """The path of a C++ file as a shared library, in the user's cache. The log says if it waits.

    Args:
        what: the library computes, in the plural, for the log.
        linked: options that say what it is linked with, and where that is.
        version: of what it is linked with. Another version gets another library, another place
            does not.

    Raises:
        CompilerError: the compiler failed, there is none, or the cache cannot be written.
    """
    compiler = shlex.split(os.environ.get("CXX") or "c++")
    command = [*compiler, "-std=c++20", "-O3", "-fPIC", "-shared", "-fopenmp", *flags]
    libc = os.confstr("CS_GNU_LIBC_VERSION") if sys.platform == "linux" else ""
    key = hashlib.sha256(" ".join([version, str(libc), *command]).encode())
    for file in (source, *HEADERS):
        key.update(file.read_bytes())
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srgan"
    except RuntimeError as error:
        raise CompilerError(f"{error} Set XDG_CACHE_HOME to a folder") from error
    library = cache / f"{source.stem}-{key.hexdigest()[:16]}.so"
    if library.exists():
        return library
    notice = threading.Timer(
        PATIENCE, log.warning, [f"compiling faster {what} for this processor, once"]
    )
    notice.start()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Several processes may compile at once. The rename shows only a complete library.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            part = Path(folder) / library.name
            command += [str(source), *linked, "-o", str(part)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            part.replace(library)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.splitlines()
        raise CompilerError(
            next((line for line in lines if "error" in line), str(error))
        ) from error
    except OSError as error:
        raise CompilerError(str(error)) from error
    finally:
        notice.cancel()
    return library
