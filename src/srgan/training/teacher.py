"""A teacher: a trained network whose SR is a target of training, beside HR.

Its SR is nearly the mean of what HR can be, so the gradient has less noise than HR's.
"""

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from srgan.degradation.bicubic import reduced
from srgan.errors import OptionError
from srgan.models.load import load_model
from srgan.networks.foreign import ForeignNetwork, torch_module
from srgan.networks.generator import Generator
from srgan.training.step import Batch


class Teacher:
    """The target of training with a teacher.

    Args:
        model: what `--model` takes, except for ONNX files.
        weight: share of the teacher's SR in the target, from 0 to 1; the rest is HR.
        scale: of the network in training. The SR of a teacher of twice or four times the scale is
            reduced: the mean of what HR can be, reduced, is the mean of reduced HR.

    Raises:
        OptionError: the model has no multiple of the scale, or is an ONNX file.
        CheckpointError: it cannot be loaded.
    """

    def __init__(self, model: str, weight: float, scale: int, accelerator: Accelerator) -> None:
        loaded = load_model(model)
        if loaded.scale % scale:
            has = f"has the scale {loaded.scale}, no multiple of this run's"
            raise OptionError(f"--teacher {model} {has}, {scale}")
        if isinstance(loaded, ForeignNetwork) and loaded.onnx:
            raise OptionError(f"--teacher {model}: an ONNX file cannot teach")
        network: nn.Module
        if isinstance(loaded, ForeignNetwork):
            network = torch_module(loaded)
        else:
            network = Generator.from_checkpoint(loaded)
        self._network = network.to(accelerator.device).to(memory_format=torch.channels_last)
        self._reduction = loaded.scale // scale
        self._weight = weight
        self._accelerator = accelerator

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """What SR should be: the mix of HR and the teacher's SR, N x 3 x H x W, float32."""
        with self._accelerator.autocast():
            sr = self._network(batch.lr)
        sr = reduced(sr.float(), self._reduction) if self._reduction > 1 else sr.float()
        return batch.hr.lerp(sr, self._weight)
