"""What this machine and this installation can do, for `srgan info` and for bug reports."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import srgan
from srgan.checkpoint import shipped_models
from srgan.engines.openvino import native_precision, processor_name
from srgan.processor import processor_flags

PACKAGES = ("openvino", "torch", "numpy", "pyvips", "pillow", "safetensors")
RELEVANT = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def describe() -> dict[str, str | list[str]]:
    """Facts by name; nothing is imported that upscaling would not import."""
    flags = processor_flags()
    return {
        "srgan": srgan.__version__,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{processor_name()}, {os.cpu_count()} cores",
        "features": [flag for flag in RELEVANT if flag in flags] or ["unknown"],
        "engines": ["openvino", *(["torch"] if _version("torch") != "not installed" else [])],
        "precision": f"{native_precision()} (auto, 8-bit pictures, openvino)",
        "models": list(shipped_models()),
        **{package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
