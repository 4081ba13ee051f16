"""What a run starts with: device and precision, the initial generator, the method's step."""

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from srgan.checkpoint import Architecture, load_checkpoint
from srgan.config import OptionError
from srgan.memory import keep_freed_memory
from srgan.networks.generator import Generator
from srgan.steps import AdversarialStep, PixelStep, Step
from srgan.training_config import RunOptions, SRResNetOptions, TrainingConfig


def make_accelerator(options: RunOptions) -> Accelerator:
    """Device and processes as accelerate and torchrun set them, and the precision.

    Raises:
        OptionError: the device has no such precision.
    """
    keep_freed_memory()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    # Each process keeps BN statistics of its own: exchanging them inside the forward pass would
    # change tensors that the discriminator's two passes still need.
    handler = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    precision = _native() if options.precision == "auto" else options.precision
    if precision == "fp16" and not torch.cuda.is_available():
        raise OptionError("--precision fp16 needs a GPU: take bf16 or fp32")
    mixed = "no" if precision == "fp32" else precision
    return Accelerator(mixed_precision=mixed, kwargs_handlers=[handler])


def _native() -> str:
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


def make_step(config: TrainingConfig, accelerator: Accelerator) -> Step:
    """The method's step on its initial networks, which the seed decides.

    Raises:
        OptionError: the model to start from has another architecture.
        CheckpointError, FeaturesError: a model or VGG's weights cannot be loaded.
    """
    torch.manual_seed(config.data.seed)
    method = config.method
    if isinstance(method, SRResNetOptions):
        architecture = Architecture(method.blocks, method.channels, method.scale)
        generator = initial_generator(method.init, architecture)
        return PixelStep(generator, method, config.optimizer, accelerator)
    checkpoint = None if method.from_scratch else load_checkpoint(method.srresnet or "")
    generator = Generator.from_checkpoint(checkpoint) if checkpoint else Generator()
    return AdversarialStep(generator, method, config.optimizer, accelerator)


def initial_generator(model: str | None, architecture: Architecture) -> Generator:
    """A generator with the weights of a model, or with random ones."""
    if model is None:
        return Generator(architecture)
    checkpoint = load_checkpoint(model)
    if checkpoint.architecture != architecture:
        raise OptionError(f"--init {model}: has {checkpoint.architecture}, not {architecture}")
    return Generator.from_checkpoint(checkpoint)
