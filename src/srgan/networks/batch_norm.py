"""Batch norm folded into the convolution before it, and taken out again; NumPy only."""

from dataclasses import replace

import numpy as np

from srgan.networks.architecture import Checkpoint, Tensors

BN_EPSILON = 1e-5


def without_bn(checkpoint: Checkpoint) -> Checkpoint:
    """The same network with BN folded into the convolutions; every BN becomes the identity."""
    tensors = dict(checkpoint.tensors)
    for convolution, bn in _normalized(tensors):
        weight, bias = convolution_with_bn(tensors, convolution, bn)
        tensors |= {f"{convolution}.weight": weight, f"{convolution}.bias": bias}
        zeros = np.zeros_like(bias)
        tensors |= {f"{bn}.weight": zeros + 1, f"{bn}.bias": zeros, f"{bn}.running_mean": zeros}
        tensors[f"{bn}.running_var"] = zeros + np.float32(1 - BN_EPSILON)
    return replace(checkpoint, tensors=tensors)


def with_deviations_of(reference: Checkpoint, checkpoint: Checkpoint) -> Checkpoint:
    """The same network in a trainable form: its BN divides by deviations again.

    Kernels with folded BN are up to 100 times smaller than trained ones. An optimizer whose
    updates have a fixed length, such as Muon, breaks them. So BN gets the running variances of
    the reference back, and each kernel is multiplied by the deviations that BN divides by.

    Args:
        reference: a network of the same architecture, with its BN as trained.
        checkpoint: a result of `without_bn`.
    """
    tensors = dict(checkpoint.tensors)
    for convolution, bn in _normalized(tensors):
        deviation = _deviation(reference.tensors, bn)
        weight, bias = tensors[f"{convolution}.weight"], tensors[f"{convolution}.bias"]
        tensors |= {
            f"{convolution}.weight": (weight * deviation[:, None, None, None]).astype(np.float32),
            f"{convolution}.bias": np.zeros_like(bias),
            f"{bn}.bias": bias,
            f"{bn}.running_var": reference.tensors[f"{bn}.running_var"],
        }
    return replace(checkpoint, tensors=tensors)


def _normalized(tensors: Tensors) -> list[tuple[str, str]]:
    """Pairs of names: a convolution, and the BN that follows it."""
    norms = [name.removesuffix(".running_var") for name in tensors if name.endswith(".running_var")]
    return [(bn.replace("bn", "conv"), bn) for bn in norms]


def _deviation(tensors: Tensors, bn: str) -> np.ndarray:
    """The standard deviation that a BN divides by, (C,), float64."""
    return np.sqrt(tensors[f"{bn}.running_var"].astype(np.float64) + BN_EPSILON)


def convolution_with_bn(
    tensors: Tensors, name: str, bn: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution after folding the BN that follows it, if any."""
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if bn is None:
        return weight, bias
    gain = tensors[f"{bn}.weight"] / _deviation(tensors, bn)
    bias = (bias - tensors[f"{bn}.running_mean"]) * gain + tensors[f"{bn}.bias"]
    return (weight * gain[:, None, None, None]).astype(np.float32), bias.astype(np.float32)
