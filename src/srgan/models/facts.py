"""Facts about a model for `srgan info MODEL`: what it is, what it needs, how fast it is here."""

import time
from typing import Any

import numpy as np

from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.models.load import load_model
from srgan.networks.architecture import Checkpoint, parameters
from srgan.networks.foreign import Model

SIDE = 128  # of the picture that is timed
SECONDS = 1.0  # of timing at least, unless one run takes longer


def model_facts(name: str, options: EngineOptions) -> dict[str, Any]:
    """Facts about a model by their names, as JSON values. Measures what has not been measured.

    Args:
        name: the same values as `load_model`.

    Raises:
        CheckpointError, EngineError: as `load_model` and `create_engine`.
    """
    model = load_model(name)
    engine = create_engine(model, options)
    tiling = engine.tiling
    side = tiling.fixed[0] if tiling.fixed else SIDE
    lr = np.full((1, 3, side, side), 0.5, np.float32)
    engine(lr)
    runs, begin = 0, time.perf_counter()
    while not runs or time.perf_counter() - begin < SECONDS:
        engine(lr)
        runs += 1
    seconds = (time.perf_counter() - begin) / runs
    facts: dict[str, Any] = {
        "architecture": _architecture(model),
        "scale": model.scale,
        "parameters": parameters(model) if isinstance(model, Checkpoint) else model.parameters,
        "halo": tiling.halo,
        "blended over": tiling.blend,
        "tile size": f"{side} x {side}" if tiling.fixed else None,
        "precision": engine.precision,
        "engine": f"{engine.name} on {engine.device}",
        "megapixels/s": round((side * model.scale) ** 2 / 1e6 / seconds, 3),
        "licence": model.info.get("licence"),
        "source": model.info.get("source"),
    }
    return {fact: value for fact, value in facts.items() if value not in (None, 0)}


def _architecture(model: Model) -> str:
    if isinstance(model, Checkpoint):
        shape = model.architecture
        return f"SRResNet, {shape.blocks} blocks of {shape.channels} channels"
    return model.architecture
