"""The `srgan info` command: versions, engines, and the features of this processor."""

import json as json_lines
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("openvino", "torch", "numpy", "pyvips", "pillow", "safetensors")
RELEVANT = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def info(*, json: bool = False) -> None:
    """Show versions, engines, and the features of this processor.

    Args:
        json: Print one JSON object.
    """
    facts = describe()
    if json:
        print(json_lines.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:<{width}}  {text}")


def describe() -> dict[str, str | list[str]]:
    """Facts by name. Imports nothing that upscaling would not import."""
    from srgan.engines.openvino import native_precision, processor_name
    from srgan.engines.processor import processor_flags
    from srgan.models.file import shipped_models

    flags = processor_flags()
    return {
        "srgan": _version("srgan"),
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
