"""What a run tells its user about validations and at its end, in one line each."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from srgan.training.data.sources import ShardStream
from srgan.training.data.stored import Digests, Pictures, changes
from srgan.training.run.folder import has_state
from srgan.training.validation import Validation


def validation_line(validation: Validation, best: bool) -> str:
    """The values of the last validation beside those of bicubic enlargement.

    Args:
        best: the model was written as the best.
    """
    line = f"validation at {validation.iteration}: {_listed(validation.values)}"
    line += f"; bicubic: {_listed(validation.bicubic)}"
    if not validation.beats_bicubic:
        return f"{line} (no better than bicubic)"
    return f"{line} (best)" if best else line


def farewell(folder: Path, validation: Validation) -> str:
    """What the user has after the last iteration, and what to do with it."""
    model = "best" if validation.has_best else "last"
    path = folder / f"{model}.safetensors"
    if model == "last" and validation.values and not validation.beats_bicubic:
        return (
            f"trained, but validation is no better than bicubic ({_listed(validation.values)}; "
            f"bicubic: {_listed(validation.bicubic)}): train longer; the last model is {path}"
        )
    return f"trained: srgan upscale photo.jpg --model {path}"


def stopped_early(waited: int, iteration: int) -> str:
    """Why the run ends before its schedule."""
    return (
        f"stopped at iteration {iteration}: no new best in {waited} validations (--patience); "
        "--resume with a larger --patience continues"
    )


def stopped(method: str, folder: Path, iteration: int) -> str:
    """How to resume a run that a signal has stopped."""
    return (
        f"saved at iteration {iteration}; resume with: srgan train {method} --resume "
        f"--run-folder {folder}"
    )


def skipped(count: int, iterations: int, iteration: int) -> str:
    """Some updates were skipped since the last line of the log."""
    return (
        f"iteration {iteration}: a gradient was not finite in {count} of the last {iterations} "
        "iterations; skipped"
    )


def not_finite(folder: Path, skipped: int, iteration: int) -> str:
    """Too many updates in a row were skipped."""
    remedy = "with a lower --rate, with --clip 1 or with --precision fp32"
    what = "the last saved state is good: --resume it" if has_state(folder) else "start again"
    return (
        f"{folder}: gradients were not finite in {skipped} iterations in a row, up to "
        f"{iteration}; {what} {remedy}"
    )


def data_warnings(
    pictures: Pictures | ShardStream, saved: Digests | str, now: Digests
) -> Iterator[str]:
    """Why a resumed run may see other crops than an uninterrupted one.

    Args:
        saved: digests of the training state; see `changes`.
    """
    if isinstance(pictures, ShardStream):
        yield "a stream does not resume to the bit: it reads its current shards from their start"
    if (change := changes(saved, now)) is not None:
        yield change


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
