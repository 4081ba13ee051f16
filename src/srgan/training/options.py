"""Options of training as frozen dataclasses; their defaults are the preset `fast`.

Importing this is cheap: `srgan train --help` reads it. `srgan.training.config` puts the parts
together. An option without a group of its own stands in its part's group of the help.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from srgan.degradation.ranges import BICUBIC
from srgan.errors import OptionError
from srgan.networks.options import SCALES

OptimizerKind = Literal["muon", "natural", "adam"]
PixelLoss = Literal["mse", "l1", "charbonnier", "rmse"]
ContentLoss = Literal["mse", "unit"]
AdversarialLoss = Literal["standard", "relativistic"]
DiscriminatorInput = Literal["features", "picture"]
Schedule = Literal["cosine", "wsd", "constant", "step"]
TrainingPrecision = Literal["auto", "fp32", "bf16", "fp16"]
PreparedFormat = Literal["png", "parquet", "webdataset"]

LOSSES = Parameter(group=Group("Losses", sort_key=4))
# `srgan train METHOD --help-all` lists these; `--help` says how many there are.
MORE_OPTIONS = "More options"
MORE = Parameter(group=Group(MORE_OPTIONS, sort_key=9))
SWITCH = Parameter(negative_bool="no-")  # --jitter and --no-jitter


def _join(_: Any, tokens: Sequence[Token]) -> str:
    """The value of an option that takes a,b and a b alike."""
    return ",".join(token.value for token in tokens)


JOINED = Parameter(consume_multiple=True, n_tokens=-1, converter=_join)


def _positive(options: Any, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise OptionError(f"--{name.replace('_', '-')} must be above 0 and finite, not {value}")


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where the pictures are and how crops are cut.

    Attributes:
        data_folder: Training pictures: a folder, searched recursively, of pictures or of parquet
            or webdataset shards; a URL of such a folder (s3://, gs://, az://); or hf:OWNER/NAME,
            a dataset on the Hugging Face hub.
        validation_folder: Pictures to validate on, in any of these forms. Default: some training
            pictures are held out.
        lr_folder: LR of your own, instead of LR made from HR: pictures with the names of HR's, or
            those of benchmarks, such as 0001x4.png. --degradation then applies to them, at their
            own size.
        degradation: How LR is made: bicubic, blurry (out of focus, noisy, saved as JPEG),
            blurry-light, or a TOML file of ranges. With several names, separated by spaces or
            commas, each crop gets one of them.
        gray: Train for gray pictures, such as scans and X-rays: colours become gray, and 16 bits
            stay 16 bits.
        crop: Side of the HR crops in pixels.
        seed: Seed of the initial weights, the crops and the choice of held-out pictures.
        stream: Read shards over the network while training, for data larger than the disk.
        validation_pictures: Number of pictures that validation uses.
        candidates: Random places per crop; the one with the most detail is taken.
        flat_share: Share of crops that become one colour. Photographs have few pure colours, and
            networks that saw none change them.
        workers: Processes that decode pictures. Default: chosen from the machine.
    """

    data_folder: str | Path | None = None
    validation_folder: str | Path | None = None
    lr_folder: Path | None = None
    degradation: Annotated[str, JOINED] = BICUBIC
    gray: bool = False
    crop: int = 96
    seed: int = 0
    stream: Annotated[bool, MORE] = False
    validation_pictures: Annotated[int, MORE] = 16
    candidates: Annotated[int, MORE] = 1
    flat_share: Annotated[float, MORE] = 0.03
    workers: Annotated[int | None, MORE] = None

    def __post_init__(self) -> None:
        _positive(self, "validation_pictures", "crop", "candidates")
        if not 0 <= self.flat_share < 1:
            raise OptionError("--flat-share must be at least 0 and below 1")
        if self.seed < 0:
            raise OptionError("--seed must be 0 or more")
        if self.workers is not None and self.workers < 0:
            raise OptionError("--workers must be 0 or more")
        if self.lr_folder is not None and self.stream:
            raise OptionError("--lr-folder is for folders of picture files: it excludes --stream")


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """How long training runs, and how the learning rates change.

    Attributes:
        minutes: Wall-clock budget. The schedule is fitted to it; training ends at the budget or
            at the last iteration, whichever comes first.
        iterations: Updates of the generator.
        epochs: Instead of iterations: passes over the training pictures. One pass is 16 crops of
            each picture.
        batch_size: Crops per iteration, over all processes.
        patience: Stop after this many validations in a row without a new best model.
        warmup: Iterations in which the rates rise, at most a tenth of the run.
        schedule: Learning-rate schedule after the warm-up: cosine and wsd fall to 1 %, step falls
            to 10 % at half-time, constant keeps it.
    """

    minutes: float | None = None
    iterations: int = 100_000
    epochs: int | None = None
    batch_size: int = 16
    patience: int | None = None
    warmup: Annotated[int, MORE] = 100
    schedule: Annotated[Schedule, MORE] = "cosine"

    def __post_init__(self) -> None:
        _positive(self, "iterations", "epochs", "minutes", "batch_size", "patience")
        if self.warmup < 0:
            raise OptionError("--warmup must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """How weights are updated.

    Attributes:
        rate: Learning rate of Adam, which updates all but the 3x3 kernels.
        muon_rate: Learning rate of the 3x3 kernels.
        optimizer: Optimizer of the 3x3 kernels: muon, natural (for trained weights), or the
            paper's adam.
        betas: Adam's decay rates of both moments.
        clip: Largest norm of the gradient. Default: not limited.
        ema: Decay per iteration of the averaged weights, which are validated and saved.
        freeze_bn: Keep the generator's BN statistics, for a generator trained before.
    """

    rate: float = 5e-4
    muon_rate: float = 0.01
    optimizer: Annotated[OptimizerKind, MORE] = "muon"
    betas: Annotated[tuple[float, float], MORE] = (0.9, 0.99)
    clip: Annotated[float | None, MORE] = None
    ema: Annotated[float, MORE] = 0.999
    freeze_bn: Annotated[bool, MORE, SWITCH] = False

    def __post_init__(self) -> None:
        _positive(self, "rate", "muon_rate", "clip")
        if not all(0 <= value < 1 for value in (*self.betas, self.ema)):
            raise OptionError("--betas and --ema must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where training computes, and when it writes.

    Attributes:
        precision: Precision of the networks' arithmetic; weights and losses are fp32. auto is
            bf16 where that is faster, else fp16 on GPUs and fp32 on CPUs.
        threads: CPU threads. Default: the cores that the process may use, or the number that
            torchrun sets.
        validate_every: Iterations between validations.
        accumulate: Number of parts to split a batch into, to save memory.
        save_every: Maximum iterations between saves of the training state.
        save_minutes: Maximum minutes between saves of the training state.
        log: Also log to wandb (Weights & Biases), with WANDB_MODE=offline to a folder only.
        log_every: Iterations between lines of the log.
        keep: Number of newest training states to keep.
    """

    precision: TrainingPrecision = "auto"
    threads: int | None = None
    validate_every: int = 1000
    log: Literal["wandb"] | None = None
    accumulate: Annotated[int, MORE] = 1
    save_every: Annotated[int, MORE] = 1000
    save_minutes: Annotated[float, MORE] = 5.0
    log_every: Annotated[int, MORE] = 50
    keep: Annotated[int, MORE] = 2

    def __post_init__(self) -> None:
        _positive(self, "accumulate", "threads", "validate_every", "save_every", "save_minutes")
        _positive(self, "log_every", "keep")


@dataclass(frozen=True, kw_only=True)
class SRResNetOptions:
    """SRResNet: the generator, trained for a pixel loss.

    Attributes:
        init: Start from the weights of this model: a shipped model or a model file. It may have
            another scale.
        blocks: Residual blocks.
        channels: Feature maps of each hidden convolution.
        scale: SR pixels per LR pixel along each axis: 1, 2, 3, 4 or 8. 1 sharpens at the same
            size; it needs a degradation other than bicubic.
        pixel_loss: mse is the paper's. rmse follows PSNR-Y more closely: luma weighs most, and
            crops with little detail weigh more.
        teacher: Aim at this model's SR as well as at HR: a shipped model, a model file, or any
            network that spandrel recognises. A larger scale is reduced to this run's.
        teacher_weight: Share of the teacher's SR in the target; the rest is HR.
    """

    init: str | None = None
    blocks: int = 16
    channels: int = 64
    scale: int = 4
    pixel_loss: Annotated[PixelLoss, LOSSES] = "mse"
    teacher: Annotated[str | None, LOSSES] = None
    teacher_weight: Annotated[float, LOSSES] = 0.5

    def __post_init__(self) -> None:
        _positive(self, "blocks", "channels")
        if not 0 <= self.teacher_weight <= 1:
            raise OptionError("--teacher-weight must be from 0 to 1")
        if self.scale not in SCALES:
            raise OptionError(f"--scale must be one of {SCALES}, not {self.scale}")


@dataclass(frozen=True, kw_only=True)
class SRGANData(DataOptions):
    __doc__ = DataOptions.__doc__

    # The discriminator learns nothing from flat crops.
    candidates: Annotated[int, MORE] = 4


@dataclass(frozen=True, kw_only=True)
class SRGANSchedule(ScheduleOptions):
    __doc__ = ScheduleOptions.__doc__

    iterations: int = 20_000


@dataclass(frozen=True, kw_only=True)
class SRGANOptimizer(OptimizerOptions):
    __doc__ = OptimizerOptions.__doc__

    rate: float = 5e-5
    muon_rate: float = 0.003
    freeze_bn: Annotated[bool, MORE, SWITCH] = True


@dataclass(frozen=True, kw_only=True)
class SRGANOptions:
    """SRGAN: a trained SRResNet continues against a discriminator.

    An option that ends in `_weight` is the weight of a loss term: its name, its default and its
    help stand here, its function in `srgan.training.losses`.

    Attributes:
        srresnet: The SRResNet to start from: a shipped model or a model file. Default: the
            newest one in runs/srresnet*.
        from_scratch: Start from random weights instead.
        features: VGG weights for the content loss: vgg19 (torchvision's, downloaded once) or a
            file of VGG19 or VGG16 weights in torchvision's layout.
        content_weight: Weight of the content loss, the difference of VGG's features.
        adversarial_weight: Weight of the adversarial loss. More gives more texture.
        pixel_weight: Weight of the pixel loss.
        consistency_weight: Weight of the consistency loss, the colour difference of SR and HR at
            LR's size. It keeps colours and leaves texture free.
        grid_weight: Weight of the grid loss; it removes patterns that repeat per LR pixel.
        spectrum_weight: Weight of the spectrum loss; it removes ripples and leather.
        content_loss: How features are compared: mse compares values (the paper), unit compares
            directions.
        layer: i and j of VGG's convolution i,j to compare; repeat it for several.
        adversarial_loss: standard is the paper's; relativistic compares SR with its HR.
        pixel_loss: Kind of the pixel loss.
        jitter: Shift the view of VGG and discriminator each iteration, to prevent fixed patterns.
        discriminator: Input of the discriminator: picture (the paper's) or VGG's features.
        discriminator_rate: Adam's learning rate of the discriminator.
    """

    srresnet: Annotated[str | None, Parameter(alias="--srresnet-ckpt")] = None
    from_scratch: bool = False
    features: str = "vgg19"
    content_weight: Annotated[float, LOSSES] = 1.0
    adversarial_weight: Annotated[float, LOSSES] = 0.1
    pixel_weight: Annotated[float, LOSSES] = 0.0
    consistency_weight: Annotated[float, LOSSES] = 4.0
    grid_weight: Annotated[float, MORE] = 20.0
    spectrum_weight: Annotated[float, MORE] = 0.5
    content_loss: Annotated[ContentLoss, MORE] = "unit"
    layer: Annotated[tuple[tuple[int, int], ...], MORE] = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
    adversarial_loss: Annotated[AdversarialLoss, MORE] = "relativistic"
    pixel_loss: Annotated[PixelLoss, MORE] = "mse"
    jitter: Annotated[bool, MORE, SWITCH] = True
    discriminator: Annotated[DiscriminatorInput, MORE] = "features"
    discriminator_rate: Annotated[float, MORE] = 6e-4

    def __post_init__(self) -> None:
        _positive(self, "discriminator_rate")
        if not self.layer or not all(1 <= i <= 5 and j >= 1 for i, j in self.layer):
            raise OptionError("--layer is a convolution i j of VGG: i from 1 to 5, j from 1")
        if self.from_scratch and self.srresnet is not None:
            raise OptionError("give either --srresnet or --from-scratch")
        names = (field.name for field in fields(self))
        weights = [getattr(self, name) for name in names if name.endswith("_weight")]
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
            raise OptionError("weights of losses must be finite and 0 or more, and one above 0")

    def weight(self, term: str) -> float:
        """The weight of a loss term by its name, such as "grid"."""
        return getattr(self, f"{term}_weight")
