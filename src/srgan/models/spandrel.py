"""Adds SRResNet to spandrel, the loader of ComfyUI, chaiNNer and others.

>>> from srgan.models.spandrel import register
>>> register()
>>> spandrel.ModelLoader().load_from_file("mine.safetensors")

spandrel cannot find this module by itself; docs/other-programs.md says where to call `register`.
"""

import json

import torch
from spandrel import MAIN_REGISTRY, ArchSupport, ImageModelDescriptor, StateDict
from spandrel import Architecture as SpandrelArchitecture

from srgan.models.file import ARCHITECTURE
from srgan.models.layouts import count, recognise
from srgan.networks.architecture import Architecture, Checkpoint, enlargement, expected_shapes
from srgan.networks.generator import Generator

ID = "SRResNet"


class SRResNet(SpandrelArchitecture[Generator]):
    """srgan's model files, and the checkpoints of other projects that srgan can convert."""

    def __init__(self) -> None:
        super().__init__(id=ID, detect=_detect)  # pyright: ignore[reportUnknownMemberType] - spandrel has no types

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[Generator]:
        checkpoint = _checkpoint(state_dict)
        architecture = checkpoint.architecture
        return ImageModelDescriptor(
            Generator(architecture),
            {name: torch.as_tensor(tensor) for name, tensor in checkpoint.tensors.items()},
            architecture=self,
            purpose="SR" if architecture.scale > 1 else "Restoration",
            tags=[f"{architecture.channels}nf", f"{architecture.blocks}nb"],
            supports_half=True,
            supports_bfloat16=True,
            scale=architecture.scale,
            input_channels=3,
            output_channels=3,
        )


def register() -> None:
    """Let every `spandrel.ModelLoader` of this process load SRResNets. Calling it twice is fine."""
    if ID not in MAIN_REGISTRY:
        MAIN_REGISTRY.add(ArchSupport.from_architecture(SRResNet()))


def _detect(state_dict: StateDict) -> bool:
    try:
        checkpoint = _checkpoint(state_dict)
    except (ValueError, TypeError, IndexError):  # LayoutError is a ValueError
        return False
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    return shapes == expected_shapes(checkpoint.architecture)


def _checkpoint(state_dict: StateDict) -> Checkpoint:
    tensors = {
        name: tensor.detach().float().cpu().numpy()
        for name, tensor in state_dict.items()
        if isinstance(tensor, torch.Tensor) and name != ARCHITECTURE
    }
    if "head.conv.weight" not in tensors:
        return recognise(tensors)
    if ARCHITECTURE in state_dict:
        options = json.loads(bytes(state_dict[ARCHITECTURE].tolist()))
        return Checkpoint(Architecture(**options), tensors)
    channels = tensors["head.conv.weight"].shape[0]
    architecture = Architecture(count("blocks", tensors), channels, enlargement(tensors))
    return Checkpoint(architecture, tensors)
