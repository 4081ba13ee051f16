"""Checks that the data of a run suit its networks."""

from srgan.degradation.ranges import BICUBIC
from srgan.errors import OptionError
from srgan.networks.architecture import Architecture
from srgan.training.config import TrainingConfig
from srgan.training.options import SRGANOptions

DISCRIMINATOR_STRIDE = 16  # HR pixels per position of the picture discriminator's last features


def check_data(config: TrainingConfig, architecture: Architecture, crops: int) -> None:
    """Check that the data suit the networks.

    Args:
        crops: that a process computes at once.

    Raises:
        OptionError: they do not.
    """
    options, method, cell = config.data, config.method, architecture.cell
    if options.crop % cell:
        raise OptionError(f"--crop must be a multiple of {cell}")
    if isinstance(method, SRGANOptions):
        deepest = max(block for block, _ in method.layer)
        least = 2 ** (deepest - 1) + (cell if method.jitter else 0)  # VGG halves before each block
        if options.crop < least:
            raise OptionError(f"--crop must be at least {least} for VGG's layers: see --layer")
    if crops == 1 and options.crop <= _too_small_alone(config, cell):
        raise OptionError(
            f"--crop {options.crop} is too small for one crop at a time, of which BN cannot "
            "compute statistics: take larger crops, or more with --batch-size"
        )
    if architecture.scale == 1 and options.degradation == BICUBIC and options.lr_folder is None:
        raise OptionError(
            "scale 1 has nothing to learn from --degradation bicubic, which leaves the picture as "
            "it is: add --degradation blurry or --lr-folder"
        )


def _too_small_alone(config: TrainingConfig, cell: int) -> int:
    """The largest crop of which some BN in training gets a single position."""
    method = config.method
    if isinstance(method, SRGANOptions) and method.discriminator == "picture":
        return DISCRIMINATOR_STRIDE + (cell if method.jitter else 0)
    return 0 if config.optimizer.freeze_bn else cell
