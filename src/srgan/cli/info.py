"""The `srgan info` command: versions, engines, and the features of this processor."""

import json as json_lines
import os
import platform
import sys
from collections.abc import Mapping
from typing import Annotated, Any, cast

from cyclopts import Group, Parameter

from srgan.cli.run import command
from srgan.engines.options import EngineOptions

ENGINE = Parameter(name="*", group=Group("Engine", sort_key=2))
PACKAGES = ("openvino", "torch", "numpy", "pyvips", "pillow", "safetensors")
RELEVANT = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
info_app = command("info")


@info_app.default
def info(
    model: str | None = None,
    /,
    *,
    engine: Annotated[EngineOptions, ENGINE] = EngineOptions(),
    json: bool = False,
) -> None:
    """Show versions, engines and this processor's features; or a model's needs and speed.

    Args:
        model: The same values as --model of srgan upscale: shows its architecture, scale, halo,
            precision, megapixels of result a second on this machine, and licence.
        json: Print one JSON object.
    """
    if model is None:
        facts: Mapping[str, Any] = describe()
    else:
        from srgan.models.facts import model_facts

        facts = model_facts(model, engine)
    if json:
        print(json_lines.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(cast(list[str], value))
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def describe() -> dict[str, str | list[str]]:
    """Facts by name. Imports nothing that upscaling would not import."""
    from srgan.engines.openvino import processor_name
    from srgan.engines.precision import cpu_precision, native_is_faster
    from srgan.engines.processor import processor_flags
    from srgan.models.file import shipped_models
    from srgan.models.folder import found_models
    from srgan.models.load import load_checkpoint
    from srgan.upscaling.options import DEFAULT_MODEL

    flags, missing = processor_flags(), _native_problem()
    precision = cpu_precision(load_checkpoint(DEFAULT_MODEL).info)
    torch = ["torch"] if _version("torch") != "not installed" else []
    engine = "openvino"
    if native_is_faster(precision) and not missing:
        engine, precision = "native", "fp32"
    return {
        "srgan": _version("srgan"),
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{processor_name()}, {os.cpu_count()} cores",
        "features": [flag for flag in RELEVANT if flag in flags] or ["unknown"],
        "engines": ["openvino", *([] if missing else ["native"]), *torch],
        **({"native": missing} if missing else {}),
        "precision": f"{precision} ({DEFAULT_MODEL}, auto, 8-bit pictures, {engine})",
        "models": [*shipped_models(), *found_models()],
        **{package: _version(package) for package in PACKAGES},
    }


def _native_problem() -> str | None:
    """Why the native engine cannot run here, if so. Its first use compiles it."""
    from srgan.engines.base import EngineError
    from srgan.engines.kernels import kernels

    try:
        kernels()
    except EngineError as error:
        return str(error)
    return None


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
