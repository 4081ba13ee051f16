"""Sets up a run (device, pictures, step) and makes its model file.

The order of a run: `train()`, then the set-up here, which it and `Trainer.__init__` call, then
`Trainer.run`.
"""

import importlib
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from srgan.degradation.degrade import make_degrade
from srgan.degradation.ranges import BICUBIC, presets
from srgan.errors import OptionError
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.networks.generator import Generator
from srgan.networks.transfer import TransferError, transfer
from srgan.training.adversarial_step import AdversarialStep
from srgan.training.config import TrainingConfig
from srgan.training.data.crops import CROPS_PER_PICTURE, split
from srgan.training.data.loader import CropLoader, open_loader
from srgan.training.data.overlap import without_validated
from srgan.training.data.pairs import Pairs, find_pairs
from srgan.training.data.sources import ShardStream, find_source, open_stream
from srgan.training.data.stored import Pictures
from srgan.training.options import DataOptions, SRResNetOptions
from srgan.training.pixel_step import PixelStep
from srgan.training.precision import fastest_precision
from srgan.training.process import keep_freed_memory, set_threads
from srgan.training.run.folder import RUNS
from srgan.training.step import Step
from srgan.training.validation import Validation, read_pairs

# If DDP imports torch._dynamo first, its process group is never released.
importlib.import_module("torch._dynamo")

log = logging.getLogger("srgan")

# Options with names of the user's files: a model file must not reveal them.
PRIVATE = (
    *("data_folder", "validation_folder", "lr_folder"),
    *("features", "srresnet", "init", "teacher"),
)


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """The run's device, processes and precision; accelerate and torchrun choose the first two.

    Raises:
        OptionError: the device does not have the precision.
    """
    keep_freed_memory()
    set_threads(config.run.threads)
    # Each process keeps its own BN statistics: exchanging them inside the forward pass would
    # change tensors that the discriminator's two passes still need.
    handler = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    precision = config.run.precision
    if precision == "auto":
        precision = fastest_precision(config.method)
    if precision == "fp16" and not torch.cuda.is_available():
        raise OptionError("--precision fp16 needs a GPU: take bf16 or fp32")
    torch.backends.cudnn.benchmark = torch.cuda.is_available()  # all crops have one size
    mixed = "no" if precision == "fp32" else precision
    return Accelerator(mixed_precision=mixed, kwargs_handlers=[handler])


def micro_batch(config: TrainingConfig, accelerator: Accelerator) -> int:
    """The crops that a process computes at once.

    Raises:
        OptionError: the batch cannot be split into equal parts.
    """
    batch_size = config.schedule.batch_size
    parts = config.run.accumulate * accelerator.num_processes
    if batch_size % parts:
        raise OptionError(
            f"--batch-size {batch_size} cannot be split into {parts} equal parts "
            "(processes x --accumulate)"
        )
    return batch_size // parts


def lanes(config: TrainingConfig, accelerator: Accelerator) -> range:
    """Numbers of this process's micro-batches among those of an iteration."""
    parts = config.run.accumulate
    first = accelerator.process_index * parts
    return range(first, first + parts)


def open_batches(
    config: TrainingConfig,
    accelerator: Accelerator,
    pictures: Pictures | ShardStream,
    pairs: Pairs | None,
    first_batch: int,
    first_shard: int,
) -> CropLoader:
    """This process's batches, from the first one that the run has not seen; see `open_loader`."""
    data, own = config.data, lanes(config, accelerator)
    return open_loader(
        pictures,
        crop=data.crop,
        candidates=data.candidates,
        flat_share=data.flat_share,
        gray=data.gray,
        batch_size=micro_batch(config, accelerator),
        seed=data.seed,
        lanes=accelerator.num_processes * len(own),
        own=own,
        workers=data.workers,
        first_batch=first_batch,
        first_shard=first_shard,
        pairs=pairs,
    )


def find_data(options: DataOptions, folder: Path) -> tuple[Pictures | ShardStream, Pictures]:
    """The pictures to train on, and those to validate on.

    Runs, with their sample grids, and validation pictures may lie in the data folder, and a run
    may be the data folder. Training leaves them out.

    Args:
        folder: of the run.

    Raises:
        DataError: there are no pictures, or training and validation share shards.
        OptionError: no data folder is given.
    """
    if options.data_folder is None:
        raise OptionError("--data-folder is missing: give a folder of training pictures")
    count = options.validation_pictures
    without = [folder, RUNS]
    if options.lr_folder is not None:
        if options.lr_folder.resolve() == Path(options.data_folder).resolve():
            raise OptionError("--lr-folder and --data-folder are the same: separate HR and LR")
        without.append(options.lr_folder)
    if options.validation_folder is not None:
        without.append(Path(options.validation_folder))
    opened = open_stream if options.stream else find_source
    training = opened(str(options.data_folder), without)
    if options.validation_folder is not None:
        source = find_source(str(options.validation_folder))
        validated = [source[index] for index in range(min(count, len(source)))]
        return without_validated(training, source, validated), validated
    if isinstance(training, ShardStream):
        return training, []
    return split(training, count, options.seed)


def pair_up(
    options: DataOptions, scale: int, pictures: Pictures | ShardStream, held_out: Pictures
) -> Pairs | None:
    """The LR files of the pictures and of the held-out ones; None without --lr-folder.

    Raises:
        DataError: a picture has none.
    """
    if options.lr_folder is None or isinstance(pictures, ShardStream):
        return None
    training = Path(options.data_folder or "")
    validation = Path(options.validation_folder or training)
    sources = [(training, pictures), (validation, held_out)]
    return find_pairs(options.lr_folder, scale, sources, gray=options.gray)


def with_iterations(config: TrainingConfig, pictures: Pictures | ShardStream) -> TrainingConfig:
    """The configuration with its epochs as iterations: a resumed run must not count pictures again.

    An epoch cuts CROPS_PER_PICTURE crops of every picture: it decodes each picture once.

    Raises:
        OptionError: it has epochs, but the number of a stream's pictures is unknown.
    """
    schedule = config.schedule
    if schedule.epochs is None:
        return config
    if isinstance(pictures, ShardStream):
        raise OptionError("--epochs: a stream has an unknown number of pictures: give --iterations")
    crops = schedule.epochs * len(pictures) * CROPS_PER_PICTURE
    iterations = math.ceil(crops / schedule.batch_size)
    return replace(config, schedule=replace(schedule, iterations=iterations, epochs=None))


def make_step(
    config: TrainingConfig, accelerator: Accelerator, architecture: Architecture | None = None
) -> Step:
    """The method's step on its initial networks, which the seed decides.

    Args:
        architecture: of a generator whose weights will be loaded from a training state. By
            default the method decides the generator.

    Raises:
        OptionError: the model to start from has another architecture, or BN statistics that
            nobody measured are to be kept.
        CheckpointError, FeaturesError: a model or VGG's weights cannot be loaded.
    """
    torch.manual_seed(config.data.seed)  # pyright: ignore[reportUnknownMemberType] - untyped in torch
    method = config.method
    if isinstance(method, SRResNetOptions):
        if architecture is not None:
            generator = Generator(architecture)
        elif method.init is None and config.optimizer.freeze_bn:
            raise OptionError("--freeze-bn needs a trained model: add --init or --no-freeze-bn")
        else:
            generator = initial_generator(method.init, new_architecture(method))
        return PixelStep(generator, method, config.optimizer, accelerator)
    if architecture is not None or method.srresnet is None:
        generator = Generator(architecture)
    else:
        generator = Generator.from_checkpoint(load_checkpoint(method.srresnet))
    return AdversarialStep(generator, method, config.optimizer, accelerator)


def make_validation(
    config: TrainingConfig,
    accelerator: Accelerator,
    step: Step,
    held_out: Pictures,
    pairs: Pairs | None,
) -> Validation:
    """The validations of a run. Only the main process validates: the others get no pictures.

    Raises:
        OptionError: there are no pictures for --patience.
    """
    if not accelerator.is_main_process:
        return Validation([], step, accelerator.device, config.run.threads)
    degrade = make_degrade(config.data.degradation, whole=True)
    scale, gray = step.generator.architecture.scale, config.data.gray
    scored = read_pairs(held_out, scale, degrade, pairs, gray=gray)
    if not scored and config.schedule.patience is not None:
        raise OptionError("--patience needs pictures to validate on: give --validation-folder")
    if not scored:
        log.warning("there are no pictures to validate on: there will be no best model")
    return Validation(scored, step, accelerator.device, config.run.threads)


def trained_checkpoint(
    architecture: Architecture,
    weights: Mapping[str, Tensor],
    config: TrainingConfig,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Checkpoint:
    """A run's weights as a model file that records how they were trained.

    Args:
        training: the run's progress, added to its options.
        metrics: the values of the last validation, by metric.
    """
    info = {
        "name": config.name,
        "description": f"{config.name} x{architecture.scale}, by srgan train",
        "training": {**public_options(config), **training},
        "metrics": {"protocol": "PSNR-Y and SSIM-Y on held-out pictures", **metrics},
    }
    tensors = {name: tensor.float().cpu().numpy() for name, tensor in weights.items()}
    return Checkpoint(architecture, tensors, info)


def public_options(config: TrainingConfig) -> dict[str, Any]:
    """The options of a run by name, without the names of the user's files."""
    options = {name: value for name, value in config.table().items() if name not in PRIVATE}
    if not {BICUBIC, *presets()}.issuperset(config.data.degradation.split(",")):
        options["degradation"] = "of a file"
    return options


def new_architecture(method: SRResNetOptions) -> Architecture:
    """The network that a new run trains: the paper's, and a cheaper one for scale 1.

    At the same size, the trunk computes one position for 2 x 2 pixels: a sixth of the work. (One
    for 4 x 4 is cheaper, but 48 values leave the 64 channels no room to restore them.) The
    network's output is added to LR, which already holds most of the picture.
    """
    if method.scale > 1:
        return Architecture(method.blocks, method.channels, method.scale)
    return Architecture(
        method.blocks, method.channels, scale=1, unshuffle=2, bilinear=True, output="clamp"
    )


def initial_generator(model: str | None, architecture: Architecture) -> Generator:
    """A generator with a model's weights, or with random ones. The log says what it took.

    Raises:
        OptionError: the model's blocks do not fit.
        CheckpointError: the model cannot be loaded.
    """
    generator = Generator(architecture)
    if model is None:
        return generator
    start = {name: tensor.numpy() for name, tensor in generator.state_dict().items()}
    try:
        taken = transfer(load_checkpoint(model), Checkpoint(architecture, start))
    except TransferError as error:
        raise OptionError(f"--init {model} {error}") from error
    log.warning("--init %s: %s", model, taken.report)
    return Generator.from_checkpoint(taken.checkpoint)
