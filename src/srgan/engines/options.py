"""Options of engines. This module is cheap to import: `srgan --help` reads it."""

from dataclasses import dataclass
from typing import Literal, get_args

from srgan.errors import OptionError

EngineName = Literal["auto", "openvino", "native", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Device = Literal["auto", "cpu", "gpu", "npu"]
Alpha = Literal["bicubic", "network"]

MIN_TILE = 64


@dataclass(frozen=True)
class EngineOptions:
    """How the network is computed.

    Attributes:
        engine: torch for GPUs, OpenVINO for CPUs, and native for fp32 on CPUs: it is twice as
            fast there, and needs Linux and a C++ compiler. Auto takes what is fastest.
        precision: Auto is what the processor is fast at: bf16 with AMX, else int8 for models that
            lose at most 0.02 dB by it, else fp32 or bf16; and fp32 for 16-bit pictures. int8 is
            the fastest on CPUs and loses a little quality.
        threads: CPU threads; all cores by default.
        tile: Side of the tiles in input pixels, at least 64; by default fitted to the picture.
        compile: Run torch.compile first; torch engine only.
        device: Of openvino; gpu and npu are Intel's. Auto is the CPU.
        alpha: How transparency is enlarged; the network draws sharper edges.

    Raises:
        OptionError: a value is not one of the choices or out of range.
    """

    engine: EngineName = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    tile: int | None = None
    compile: bool = False
    device: Device = "auto"
    alpha: Alpha = "bicubic"

    def __post_init__(self) -> None:
        for name, kind in (("device", Device), ("alpha", Alpha)):
            if getattr(self, name) not in get_args(kind):
                raise OptionError(f"--{name} must be one of {get_args(kind)}")
        if self.engine not in get_args(EngineName):
            raise OptionError(f"engine must be one of {get_args(EngineName)}, not {self.engine}")
        if self.precision not in get_args(Precision):
            raise OptionError(
                f"precision must be one of {get_args(Precision)}, not {self.precision}"
            )
        if self.tile is not None and self.tile < MIN_TILE:
            raise OptionError(f"--tile must be at least {MIN_TILE}")
        if self.threads is not None and self.threads < 1:
            raise OptionError("--threads must be at least 1")
