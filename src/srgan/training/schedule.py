"""Learning rates over a run, as a factor of the initial ones."""

import math

from srgan.training.options import ScheduleOptions

FINAL_FACTOR = 0.01  # at the end of cosine and wsd
DECAY = 0.25  # part of the run in which wsd decays
LONGEST_WARMUP = 0.1  # part of the run: a short run warms up faster
STEP_FACTOR = 0.1  # in the second half of the step schedule


def rate_factor(options: ScheduleOptions, iteration: int, progress: float) -> float:
    """The factor, 0 to 1, by which the learning rates are multiplied.

    Args:
        iteration: counted from 0.
        progress: the part of the run that is done, 0 to 1.
    """
    warm = 1.0
    if options.warmup:
        warm = min(max((iteration + 1) / options.warmup, progress / LONGEST_WARMUP), 1.0)
    if options.schedule == "constant":
        return warm
    if options.schedule == "step":
        return warm if progress < 0.5 else warm * STEP_FACTOR
    progress = min(progress, 1.0)
    if options.schedule == "wsd":  # warmup, stable, decay: Hägele et al. 2024, arXiv:2405.18392
        left = min((1 - progress) / DECAY, 1.0)
    else:
        left = (1 + math.cos(math.pi * progress)) / 2
    return warm * (FINAL_FACTOR + (1 - FINAL_FACTOR) * left)
