"""Small networks with random weights."""

import numpy as np

from srgan.networks.architecture import Architecture, Checkpoint, expected_shapes


def random_checkpoint(architecture: Architecture, seed: int = 0) -> Checkpoint:
    """A network with random weights that passes a picture through at sensible contrast."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_shapes(architecture).items():
        if len(shape) == 4:
            fan_in = np.prod(shape[1:])
            tensors[name] = rng.normal(0, fan_in**-0.5, shape)
        elif name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn.weight")):
            tensors[name] = rng.uniform(0.5, 1.5, shape)
        else:
            tensors[name] = rng.uniform(-0.2, 0.2, shape)
    return Checkpoint(architecture, {k: v.astype(np.float32) for k, v in tensors.items()})
