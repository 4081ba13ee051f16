"""The float32 torch network, which every engine must agree with."""

import numpy as np
import torch

from srgan.networks.architecture import Checkpoint
from srgan.networks.generator import Generator


def network(checkpoint: Checkpoint, lr: np.ndarray) -> np.ndarray:
    """The float32 torch network: what every engine must agree with."""
    with torch.inference_mode():
        return Generator.from_checkpoint(checkpoint)(torch.from_numpy(lr)).numpy()
