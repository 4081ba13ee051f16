"""Keeps the pictures of --validation-folder out of training."""

import logging
import os
from pathlib import Path

import numpy as np

from srgan.training.data.sources import ShardPictures, Shards, ShardStream
from srgan.training.data.stored import (
    DataError,
    Pictures,
    Selected,
    StoredPicture,
    StoredPictures,
    photograph,
)

log = logging.getLogger("srgan")

REMEDY = "give other pictures, or leave --validation-folder out: some are then held out"


def without_validated(
    training: Pictures | ShardStream, source: Pictures, validated: Pictures
) -> Pictures | ShardStream:
    """The training pictures without those that validate; a warning says how many are left out.

    Of a photograph that `srgan prepare` has cut, all sub-images are left out.

    Args:
        source: all pictures of the validation folder.
        validated: those that are used.

    Raises:
        DataError: none is left, or both are in the same shards.
    """
    if isinstance(training, ShardPictures | ShardStream):
        if isinstance(source, ShardPictures) and _files(source.shards) & _files(training.shards):
            raise DataError(f"--validation-folder has shards of --data-folder: {REMEDY}")
        return training
    names = set(map(_name, validated))
    wholes = set(map(_whole, validated))
    # By name first: to follow the links of each path takes long.
    kept = [
        index
        for index, picture in enumerate(training)
        if _name(picture) not in names or _whole(picture) not in wholes
    ]
    if not kept:
        raise DataError(f"--validation-folder has all pictures of --data-folder: {REMEDY}")
    if len(kept) == len(training):
        return training
    left_out = len(training) - len(kept)
    log.warning("%d training pictures are left out: --validation-folder has them", left_out)
    if isinstance(training, StoredPictures):
        return Selected(training, np.array(kept))
    return [training[index] for index in kept]


def _files(shards: Shards) -> set[str]:
    """Identify shards: their files, or the dataset of the hub."""
    files = {file if "://" in file else os.path.realpath(file) for file in shards.files}
    return files or {shards.kind}


def _name(picture: Path | StoredPicture) -> str:
    return photograph(picture.name) or picture.name


def _whole(picture: Path | StoredPicture) -> str:
    """Identify the file, or the photograph that it is a part of, by its place."""
    place = os.path.realpath(picture) if isinstance(picture, Path) else str(picture)
    return photograph(place) or place
