"""What a run starts with, device, pictures and step, and ends with, a model file."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # if imported by DDP, with the process group there, it holds that for good
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from srgan.degradation.ranges import BICUBIC, presets
from srgan.engines.processor import bf16_is_slow, processor_flags
from srgan.errors import OptionError
from srgan.models.load import load_checkpoint
from srgan.networks import winograd
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.networks.generator import Generator
from srgan.training.adversarial_step import AdversarialStep
from srgan.training.config import TrainingConfig
from srgan.training.data.crops import split
from srgan.training.data.sources import ShardStream, find_source, open_stream
from srgan.training.data.stored import Pictures
from srgan.training.options import DataOptions, SRGANOptions, SRResNetOptions
from srgan.training.pixel_step import PixelStep
from srgan.training.process import keep_freed_memory
from srgan.training.run.folder import RUNS
from srgan.training.step import Step

# Options with names of somebody's files: no model file tells them.
PRIVATE = ("data_folder", "validation_folder", "features", "srresnet", "init")


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Device and processes as accelerate and torchrun set them, and the precision.

    Raises:
        OptionError: the device has no such precision.
    """
    keep_freed_memory()
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    # Each process keeps BN statistics of its own: exchanging them inside the forward pass would
    # change tensors that the discriminator's two passes still need.
    handler = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    precision = config.run.precision
    if precision == "auto":
        precision = fastest_precision(config.method)
    if precision == "fp16" and not torch.cuda.is_available():
        raise OptionError("--precision fp16 needs a GPU: take bf16 or fp32")
    mixed = "no" if precision == "fp32" else precision
    return Accelerator(mixed_precision=mixed, kwargs_handlers=[handler])


def fastest_precision(method: SRResNetOptions | SRGANOptions) -> str:
    """What `--precision auto` is on this machine; of two that are as fast, the more exact one."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if not torch.cpu._is_avx512_bf16_supported() or bf16_is_slow():
        return "fp32"
    if isinstance(method, SRGANOptions) or "amx_bf16" in processor_flags():
        return "bf16"
    # AVX-512's bf16 is no faster than Winograd's convolutions.
    gains = winograd.gain(method.channels, method.channels) and winograd.is_compiled()
    return "fp32" if gains else "bf16"


def micro_batch(config: TrainingConfig, accelerator: Accelerator) -> int:
    """Crops that a process computes at once. Raises OptionError where the parts are unequal."""
    batch_size = config.schedule.batch_size
    parts = config.run.accumulate * accelerator.num_processes
    if batch_size % parts:
        raise OptionError(
            f"--batch-size {batch_size} cannot be split into {parts} equal parts "
            "(processes x --accumulate)"
        )
    return batch_size // parts


def find_data(options: DataOptions, folder: Path) -> tuple[Pictures | ShardStream, Pictures]:
    """Pictures to train on, and those to validate on.

    Runs, with their sample grids, and the validation folder may lie in the data folder: nothing
    in them is trained on.

    Args:
        folder: of the run.

    Raises:
        DataError: there are none.
    """
    if options.data_folder is None:
        raise OptionError("--data-folder is missing: give a folder of training pictures")
    count = options.validation_pictures
    without = [folder, RUNS]
    if options.stream:
        held_out = _validation_pictures(options) if options.validation_folder else []
        return open_stream(str(options.data_folder)), held_out
    if options.validation_folder is None:
        return split(find_source(str(options.data_folder), without), count, options.seed)
    without.append(Path(options.validation_folder))
    return find_source(str(options.data_folder), without), _validation_pictures(options)


def _validation_pictures(options: DataOptions) -> Pictures:
    found = find_source(str(options.validation_folder))
    return [found[index] for index in range(min(options.validation_pictures, len(found)))]


def with_iterations(config: TrainingConfig, pictures: Pictures | ShardStream) -> TrainingConfig:
    """The same with epochs as iterations: a resumed run does not count the pictures again.

    Raises:
        OptionError: a stream's pictures are not counted.
    """
    schedule = config.schedule
    if schedule.epochs is None:
        return config
    if isinstance(pictures, ShardStream):
        raise OptionError("--epochs: nobody has counted a stream's pictures: give --iterations")
    iterations = math.ceil(schedule.epochs * len(pictures) / schedule.batch_size)
    return replace(config, schedule=replace(schedule, iterations=iterations, epochs=None))


def make_step(
    config: TrainingConfig, accelerator: Accelerator, architecture: Architecture | None = None
) -> Step:
    """The method's step on its initial networks, which the seed decides.

    Args:
        architecture: of a generator whose weights will be loaded from a training state; by
            default it is made as the method says.

    Raises:
        OptionError: the model to start from has another architecture.
        CheckpointError, FeaturesError: a model or VGG's weights cannot be loaded.
    """
    torch.manual_seed(config.data.seed)
    method = config.method
    if isinstance(method, SRResNetOptions):
        if architecture is not None:
            generator = Generator(architecture)
        else:
            architecture = Architecture(method.blocks, method.channels, method.scale)
            generator = initial_generator(method.init, architecture)
        return PixelStep(generator, method, config.optimizer, accelerator)
    if architecture is not None or method.srresnet is None:
        generator = Generator(architecture)
    else:
        generator = Generator.from_checkpoint(load_checkpoint(method.srresnet))
    return AdversarialStep(generator, method, config.optimizer, accelerator)


def trained_checkpoint(
    architecture: Architecture,
    weights: Mapping[str, Tensor],
    config: TrainingConfig,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Checkpoint:
    """Weights of a run as a model file that says how they came about."""
    options = {name: value for name, value in config.table().items() if name not in PRIVATE}
    if not {BICUBIC, *presets()}.issuperset(config.data.degradation.split(",")):
        options["degradation"] = "of a file"
    info = {
        "name": config.name,
        "description": f"{config.name} x{architecture.scale}, by srgan train",
        "training": {**options, **training},
        "metrics": {"protocol": "PSNR-Y and SSIM-Y on held-out pictures", **metrics},
    }
    tensors = {name: tensor.float().cpu().numpy() for name, tensor in weights.items()}
    return Checkpoint(architecture, tensors, info)


def initial_generator(model: str | None, architecture: Architecture) -> Generator:
    """A generator with the weights of a model, or with random ones."""
    if model is None:
        return Generator(architecture)
    checkpoint = load_checkpoint(model)
    if checkpoint.architecture != architecture:
        raise OptionError(f"--init {model}: has {checkpoint.architecture}, not {architecture}")
    return Generator.from_checkpoint(checkpoint)
