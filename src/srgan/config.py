"""Options as frozen dataclasses. Importing this costs nothing: `srgan --help` reads it."""

from dataclasses import dataclass
from typing import Literal, get_args

EngineName = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
PreparedFormat = Literal["png", "parquet", "webdataset"]
# What lies beyond a picture's edges: the last pixel repeated, as in MATLAB's imresize when the
# benchmark sets were made, or the picture mirrored, as in today's. Only outer pixels differ.
Edges = Literal["replicate", "symmetric"]

DEFAULT_MODEL = "srgan-x4"
AUTO = "auto"  # the default model or its blurry sibling, by the picture
DEFAULT_MAX_PIXELS = 200_000_000
MIN_TILE = 64
MAX_SCALE = 8


class OptionError(ValueError):
    """Options that cannot be: wrong usage, whatever the picture."""


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


@dataclass(frozen=True)
class ResultOptions:
    """What is written, and where.

    Attributes:
        scale: Result pixels per pixel, 1 to 8; by default the model's own. 1 gives a picture
            of the same size, sharper.
        width: Width of the result in pixels; with --height: the most that fits both.
        height: Height of the result in pixels.
        format: One of jpeg, png, webp, tiff, avif; by default the picture's own.
        quality: Of JPEG, WebP and AVIF, 1 to 100.
        suffix: Added to the name. Default: _x and the scale, or _w and the width, beside the
            original; nothing in a folder given with -o.
        overwrite: Replace files that exist.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    quality: int | None = None
    suffix: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.scale is not None and not 1 <= self.scale <= MAX_SCALE:
            raise OptionError(f"--scale must be from 1 to {MAX_SCALE}")
        if self.scale is not None and (self.width or self.height):
            raise OptionError("give either --scale or --width and --height")
        if any(side is not None and side < 1 for side in (self.width, self.height)):
            raise OptionError("--width and --height must be at least 1")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise OptionError("--quality must be from 1 to 100")
        if self.suffix is not None and ("/" in self.suffix or "\\" in self.suffix):
            raise OptionError("--suffix is part of a file's name: no slashes")


@dataclass(frozen=True)
class ClusterOptions:
    """What a cluster gives.

    Attributes:
        num_actors: Processes that upscale, each with an engine; by default as many as there is
            room for.
        cpus_per_actor: Cores of each, and CPU threads of its engine.
        gpus_per_actor: GPUs of each; 0.5 lets two share one, so that it is not idle while one of
            them encodes.
        address: Of a running Ray cluster, as of ray.init; by default RAY_ADDRESS, or else one is
            started on this machine for the time of the job.
    """

    num_actors: int | None = None
    cpus_per_actor: int = 1
    gpus_per_actor: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.num_actors is not None and self.num_actors < 1:
            raise OptionError("--num-actors must be at least 1")
        if self.cpus_per_actor < 1 or self.gpus_per_actor < 0:
            raise OptionError("--cpus-per-actor must be at least 1, --gpus-per-actor at least 0")
