"""The device that openvino uses: the CPU, or one of Intel's GPUs and NPUs."""

from collections.abc import Sequence

from srgan.engines.base import EngineError
from srgan.engines.options import Device, Precision


def choose_device(wanted: Device, available: Sequence[str]) -> str:
    """openvino's name of a device, such as "GPU" or, of several, "GPU.0".

    Args:
        wanted: "auto" is the CPU.
        available: what openvino finds: "CPU", "GPU.0", "NPU".

    Raises:
        EngineError: openvino does not find the device.
    """
    kind = "CPU" if wanted == "auto" else wanted.upper()
    for name in available:
        if name.partition(".")[0] == kind:
            return name
    found = ", ".join(name.lower() for name in available) or "none"
    raise EngineError(f"--device {wanted}: openvino does not find one; it finds: {found}")


def native_of(device: str, cpu: Precision) -> Precision:
    """The precision that a device is fast at.

    Args:
        device: openvino's name.
        cpu: the answer for the CPU.
    """
    return cpu if device == "CPU" else "fp16"
