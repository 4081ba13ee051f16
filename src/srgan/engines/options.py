"""Options for engines. Importing this is cheap: `srgan --help` reads it."""

from dataclasses import dataclass
from typing import Literal, get_args

from srgan.errors import OptionError

EngineName = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]


MIN_TILE = 64


@dataclass(frozen=True)
class EngineOptions:
    """What computes.

    Attributes:
        engine: OpenVINO for CPUs, torch for GPUs; auto takes torch where it finds a GPU.
        precision: Auto is bf16 where the processor is fast at it, fp32 for 16-bit pictures. int8 is
            the fastest on CPUs and loses a little.
        threads: CPU threads; all cores by default.
        tile: Side of the tiles in input pixels, at least 64; by default fitted to the picture.
        compile: Run torch.compile first; torch engine only.
    """

    engine: EngineName = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    tile: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if self.engine not in get_args(EngineName):
            raise OptionError(f"engine must be one of {get_args(EngineName)}, not {self.engine}")
        if self.precision not in get_args(Precision):
            raise OptionError(f"precision must be one of {get_args(Precision)}")
        if self.tile is not None and self.tile < MIN_TILE:
            raise OptionError(f"--tile must be at least {MIN_TILE}")
        if self.threads is not None and self.threads < 1:
            raise OptionError("--threads must be at least 1")
