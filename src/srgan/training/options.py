"""Options of training as frozen dataclasses; their defaults are the preset `fast`.

Importing this costs nothing: `srgan train --help` reads it. One TOML table holds all options of
a run by their names: a preset, or the `config.toml` of a run folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from srgan.degradation.ranges import BICUBIC
from srgan.errors import OptionError

PreparedFormat = Literal["png", "parquet", "webdataset"]


# What a resumed run cannot change: its networks and its samples.
FIXED = (
    "blocks",
    "channels",
    "scale",
    "discriminator",
    "layer",  # the discriminator has a head for each
    "seed",
    "crop",
    "candidates",
    "degradation",
    "batch_size",
    "validation_pictures",
    "optimizer",
)
PRESETS = Path(__file__).parent / "presets"
OptimizerKind = Literal["muon", "natural", "adam"]
PixelLoss = Literal["mse", "l1", "charbonnier", "rmse"]
ContentLoss = Literal["mse", "unit"]
AdversarialLoss = Literal["standard", "relativistic"]
DiscriminatorInput = Literal["features", "picture"]
Schedule = Literal["cosine", "wsd", "constant", "step"]


def _positive(options: Any, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise OptionError(f"--{name.replace('_', '-')} must be above 0, not {value}")


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where the pictures are and how crops are cut.

    Attributes:
        data_folder: Training pictures: a folder, searched recursively, of pictures or of parquet
            or webdataset shards; a URL of one (s3://, gs://, az://); or OWNER/NAME of a dataset
            of the Hugging Face hub.
        validation_folder: Pictures to validate on, in any of these forms; by default some of the
            training pictures are held out.
        stream: Read shards as they come over the network, for data that fits no disk here;
            resumed at the start of a shard, which is not exact to the bit.
        validation_pictures: How many pictures validation uses.
        crop: Side of the HR crops in pixels.
        candidates: Random places that are looked at for each crop; the one with the most detail
            is taken, so that flat sky and walls cost less of the training.
        degradation: How LR is made: bicubic, blurry (pictures out of focus, noisy, saved as JPEG),
            blurry-light, or a TOML file as theirs; several by commas, one of them for each crop.
        workers: Processes that decode pictures; by default chosen from the machine.
        seed: Of the weights' initial values, of the crops, and of the pictures held out.
    """

    data_folder: str | Path | None = None
    validation_folder: str | Path | None = None
    stream: bool = False
    validation_pictures: int = 16
    crop: int = 96
    candidates: int = 1
    degradation: str = BICUBIC
    workers: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(self, "validation_pictures", "crop", "candidates")
        if self.workers is not None and self.workers < 0:
            raise OptionError("--workers must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """How long, and how the learning rates go.

    Attributes:
        iterations: Updates of the generator.
        epochs: Instead of iterations: an epoch is as many crops as there are training pictures.
        minutes: Wall-clock budget: the schedule is fitted to it, and ends with whichever of
            minutes and iterations comes first.
        batch_size: Crops an iteration, over all processes.
        warmup: Iterations in which the learning rates rise to their values; at most a tenth of
            the run.
        schedule: Then cosine goes down to 1 %, wsd stays and goes down to 1 % in the last quarter,
            step goes to 10 % at half-time, constant stays.
    """

    iterations: int = 100_000
    epochs: int | None = None
    minutes: float | None = None
    batch_size: int = 16
    warmup: int = 100
    schedule: Schedule = "cosine"

    def __post_init__(self) -> None:
        _positive(self, "iterations", "epochs", "minutes", "batch_size")
        if self.warmup < 0:
            raise OptionError("--warmup must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """How weights are updated.

    Attributes:
        optimizer: muon moves the 3x3 kernels along their orthogonalised momentum and leaves the
            rest to Adam; natural moves them along the natural gradient, which pays for weights
            that are good already; adam is the paper's.
        rate: Adam's learning rate.
        muon_rate: Learning rate of the 3x3 kernels, with muon and natural.
        betas: Adam's decay rates of both moments.
        clip: Longest gradient, as a norm over all parameters; by default there is no limit.
        ema: Decay an iteration of the averaged weights, which are what is validated and saved.
        freeze_bn: Keep the generator's BN statistics as they are: what is trained is then
            exactly what is used. For a generator that has been trained before.
    """

    optimizer: OptimizerKind = "muon"
    rate: float = 5e-4
    muon_rate: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float | None = None
    ema: float = 0.999
    freeze_bn: bool = False

    def __post_init__(self) -> None:
        _positive(self, "rate", "muon_rate", "clip")
        if not all(0 <= value < 1 for value in (*self.betas, self.ema)):
            raise OptionError("--betas and --ema must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What computes, and what is written when.

    Attributes:
        precision: Of the networks' arithmetic; weights and losses are fp32. Auto is bf16 where
            that is faster, else fp16 on GPUs and fp32 on CPUs.
        accumulate: Parts a process computes its batch in, one after the other: less memory.
        threads: CPU threads; by default all cores, or what torchrun says.
        validate_every: Iterations between validations.
        save_every: Most iterations between saves of the training state.
        save_minutes: Most minutes between saves of the training state.
        log_every: Iterations between lines of the log.
        keep: Newest training states that are kept.
    """

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accumulate: int = 1
    threads: int | None = None
    validate_every: int = 1000
    save_every: int = 1000
    save_minutes: float = 5.0
    log_every: int = 50
    keep: int = 2

    def __post_init__(self) -> None:
        _positive(self, "accumulate", "threads", "validate_every", "save_every", "save_minutes")
        _positive(self, "log_every", "keep")


@dataclass(frozen=True, kw_only=True)
class SRResNetOptions:
    """SRResNet: the generator, trained for a pixel loss.

    Attributes:
        pixel_loss: mse is the paper's; rmse is nearer to PSNR-Y (luma above all, and crops with
            little detail weigh more).
        init: Start from the weights of this model: a shipped one or a model file.
        blocks: Residual blocks.
        channels: Feature maps.
        scale: SR pixels per LR pixel: 2, 4 or 8.
    """

    pixel_loss: PixelLoss = "mse"
    init: str | None = None
    blocks: int = 16
    channels: int = 64
    scale: int = 4

    def __post_init__(self) -> None:
        _positive(self, "blocks", "channels")
        if self.scale not in (2, 4, 8):
            raise OptionError(f"--scale must be 2, 4 or 8, not {self.scale}")


@dataclass(frozen=True, kw_only=True)
class SRGANData(DataOptions):
    __doc__ = DataOptions.__doc__

    candidates: int = 4  # the discriminator learns nothing from flat crops


@dataclass(frozen=True, kw_only=True)
class SRGANSchedule(ScheduleOptions):
    __doc__ = ScheduleOptions.__doc__

    iterations: int = 20_000


@dataclass(frozen=True, kw_only=True)
class SRGANOptimizer(OptimizerOptions):
    __doc__ = OptimizerOptions.__doc__

    rate: float = 5e-5
    muon_rate: float = 0.003
    freeze_bn: bool = True


@dataclass(frozen=True, kw_only=True)
class SRGANOptions:
    """SRGAN: the generator goes on from an SRResNet, against a discriminator.

    Attributes:
        srresnet: The SRResNet to start from, a shipped model or a model file; by default the
            newest one in runs/srresnet*.
        from_scratch: Start without one, from random weights.
        features: Weights of the content loss: vgg19 (torchvision's, downloaded once) or a file
            of VGG19 or VGG16 weights in torchvision's layout.
        layer: i and j of VGG's convolution i,j, after whose activation features are compared;
            given several times, all of them are.
        content_loss: How features are compared: mse is the paper's; unit compares their
            directions, in which layers weigh the same (LPIPS without learned weights).
        content_weight: Weight of the content loss.
        adversarial_loss: standard is the paper's: is this a true picture? relativistic asks of SR
            and its HR which one is.
        adversarial_weight: Weight of the adversarial loss.
        pixel_weight: Weight of the pixel loss.
        pixel_loss: Kind of the pixel loss.
        consistency_weight: Weight of the consistency loss: how far the colours of SR and HR, both
            reduced to the size of LR, are apart. It holds them and leaves texture free.
        grid_weight: Weight of the grid loss: how far patterns that repeat with every LR pixel are
            apart in SR and HR. It takes the fine grid away that a generator begins with.
        spectrum_weight: Weight of the spectrum loss: how much single frequencies stand out in SR
            from what HR has of them. It takes away leather and ripples.
        jitter: Show VGG and the discriminator SR and HR shifted by another part of an LR pixel in
            every iteration, so that no fixed pattern of SR fits their poolings and strides.
        discriminator: What it sees: picture is the paper's network; features judges VGG's, which
            takes less time and learns many times faster.
        discriminator_rate: Adam's learning rate of the discriminator.
    """

    srresnet: Annotated[str | None, Parameter(alias="--srresnet-ckpt")] = None
    from_scratch: bool = False
    features: str = "vgg19"
    layer: tuple[tuple[int, int], ...] = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
    content_loss: ContentLoss = "unit"
    content_weight: float = 1.0
    adversarial_loss: AdversarialLoss = "relativistic"
    adversarial_weight: float = 0.1
    pixel_weight: float = 0.0
    pixel_loss: PixelLoss = "mse"
    consistency_weight: float = 4.0
    grid_weight: float = 20.0
    spectrum_weight: float = 0.5
    jitter: bool = True
    discriminator: DiscriminatorInput = "features"
    discriminator_rate: float = 6e-4

    def __post_init__(self) -> None:
        _positive(self, "discriminator_rate")
        if not self.layer or not all(1 <= i <= 5 and j >= 1 for i, j in self.layer):
            raise OptionError("--layer is a convolution i j of VGG: i from 1 to 5, j from 1")
        if self.from_scratch and self.srresnet is not None:
            raise OptionError("give either --srresnet or --from-scratch")
        weights = (
            self.content_weight,
            self.adversarial_weight,
            self.pixel_weight,
            self.consistency_weight,
            self.grid_weight,
            self.spectrum_weight,
        )
        if min(weights) < 0 or max(weights) == 0:
            raise OptionError("weights of losses must be 0 or more, and one of them above 0")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides what a run computes."""

    data: DataOptions
    schedule: ScheduleOptions
    optimizer: OptimizerOptions
    run: RunOptions
    method: SRResNetOptions | SRGANOptions

    def __post_init__(self) -> None:
        method = self.method
        if isinstance(method, SRGANOptions) and method.from_scratch and self.optimizer.freeze_bn:
            raise OptionError("--from-scratch has no BN statistics to keep: pass --no-freeze-bn")

    @property
    def name(self) -> str:
        return "srresnet" if isinstance(self.method, SRResNetOptions) else "srgan"

    def table(self) -> dict[str, Any]:
        """All options by name, as TOML knows them; those that are None are left out."""
        options: dict[str, Any] = {}
        for part in (self.method, self.data, self.schedule, self.optimizer, self.run):
            for field in fields(part):
                value = getattr(part, field.name)
                if value is not None:
                    options[field.name] = _plain(value)
        return options


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def preset_file(method: str, preset: str) -> Path | None:
    """The TOML file of a preset; None for "fast", which is the defaults.

    Raises:
        OptionError: there is no such preset and no such file.
    """
    if preset == "fast":
        return None
    for path in (PRESETS / f"{method}-{preset}.toml", Path(preset)):
        if path.is_file():
            return path
    raise OptionError(f"--preset must be fast, paper, blurry or a TOML file, not {preset}")


def check_resumed(saved: Mapping[str, Any], config: TrainingConfig) -> None:
    """Raise OptionError where a resumed run asks for another network or other data."""
    for name in FIXED:
        if name in saved and saved[name] != config.table().get(name):
            raise OptionError(
                f"--{name.replace('_', '-')} of a run cannot change, it is {saved[name]}: start a "
                "new run"
            )
