import numpy as np
import pytest
import torch

from srgan.networks.architecture import Architecture, Checkpoint
from srgan.networks.generator import Generator
from srgan.networks.transfer import TransferError, transfer
from tests.support.networks import random_checkpoint

SAME_SIZE = Architecture(2, 8, scale=1, unshuffle=4, bilinear=True, output="clamp")
X4 = random_checkpoint(Architecture(2, 8), seed=1)


def start(architecture: Architecture) -> Checkpoint:
    return random_checkpoint(architecture, seed=2)


def run(checkpoint: Checkpoint, lr: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return Generator.from_checkpoint(checkpoint)(lr)


def test_the_x2_network_takes_the_trunk_of_x4() -> None:
    taken = transfer(X4, start(Architecture(2, 8, scale=2)))
    assert "upsample.1.conv.weight" not in taken.checkpoint.tensors
    for name, tensor in taken.checkpoint.tensors.items():
        np.testing.assert_array_equal(tensor, X4.tensors[name])
    count = len(taken.checkpoint.tensors)
    assert taken.report == f"took {count} of {count} tensors"


def test_the_same_size_network_starts_as_lr() -> None:
    taken = transfer(X4, start(SAME_SIZE))
    lr = torch.rand(1, 3, 12, 16)
    assert torch.equal(run(taken.checkpoint, lr), lr)
    np.testing.assert_array_equal(
        taken.checkpoint.tensors["blocks.1.conv2.weight"], X4.tensors["blocks.1.conv2.weight"]
    )
    assert "tail starts at 0" in taken.report
    assert taken.report.endswith("; head.conv from random values")


def test_what_does_not_fit_is_new() -> None:
    begun = start(Architecture(2, 8, scale=3))
    taken = transfer(X4, begun)
    for name in ("upsample.0.conv.weight", "upsample.0.conv.bias", "upsample.0.prelu.weight"):
        np.testing.assert_array_equal(taken.checkpoint.tensors[name], begun.tensors[name])
    assert taken.report.endswith("; upsample.0 from random values")


def test_of_more_blocks_the_first_are_taken() -> None:
    taken = transfer(X4, start(Architecture(1, 8)))
    for name, tensor in taken.checkpoint.tensors.items():
        np.testing.assert_array_equal(tensor, X4.tensors[name])
    assert "blocks.1.conv1.weight" not in taken.checkpoint.tensors


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_deeper_network_starts_as_the_shallow_one(batch_norm: bool) -> None:
    shallow = random_checkpoint(Architecture(2, 8, batch_norm=batch_norm), seed=1)
    taken = transfer(shallow, start(Architecture(4, 8, batch_norm=batch_norm)))
    lr = torch.rand(1, 3, 12, 16)
    torch.testing.assert_close(run(taken.checkpoint, lr), run(shallow, lr))
    assert taken.report.endswith("; 2 new blocks that return their input")
    new = "blocks.3.conv1.weight"  # random: a block of zeros would not learn
    assert np.abs(taken.checkpoint.tensors[new]).max() > 0


def test_other_channels_are_refused() -> None:
    with pytest.raises(TransferError, match="has channels=8, this run has channels=4"):
        transfer(X4, start(Architecture(2, 4, scale=2)))
