"""Texts for the user: errors, warnings, and which extra brings a missing library.

Every error that a user can cause or mend derives from `UserError`; its text is one line with
what, why and what to do. Any other exception is a bug of srgan's, and `one_line` says so.
"""

import importlib.util
import logging
from collections.abc import Callable

# What each extra of pyproject.toml must bring before its commands can start.
_EXTRAS = {
    "torch": ("torch",),
    "train": ("torch", "accelerate", "torchvision", "tensorboard", "tomli_w"),
    "evaluate": ("torch", "lpips", "torchvision"),
    "serve": (
        "fastapi",
        "fastapi_swagger",
        "prometheus_client",
        "python_multipart",
        "uvicorn",
    ),
    "cluster": ("fsspec", "pyarrow", "ray"),
    "export": ("torch", "onnx", "onnxruntime"),
    "hub": ("huggingface_hub",),
    "video": ("av",),
    "wandb": ("wandb",),
}


class UserError(Exception):
    """Base of every error whose text is for the user: one line with what, why, what to do."""


class OptionError(UserError, ValueError):
    """Options that contradict each other or are out of range: wrong usage, exit code 2."""


class MissingExtraError(OptionError):
    """A library of an extra is not installed; the text says which `pip install` brings it."""


def need(extra: str, why: str, *, also: str = "", otherwise: str = "") -> None:
    """Check that the libraries of an extra are installed, without importing them.

    Args:
        extra: of pyproject.toml, such as "train".
        why: what needs them, the subject of the sentence: "training".
        also: one more library of the extra that is needed here.
        otherwise: what the user can do instead.

    Raises:
        MissingExtraError: one is missing.
    """
    libraries = (*_EXTRAS[extra], also) if also else _EXTRAS[extra]
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{why} needs {', '.join(missing)}: install with: pip install 'srgan[{extra}]'"
            + (f"; or {otherwise}" if otherwise else "")
        )


class MessageHandler(logging.Handler):
    """Gives the warnings that srgan logs to a display, each as one line of text.

    Args:
        show: called with the line, "warning: " and the message.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        self._show(f"warning: {record.getMessage()}")


def reason_of(error: BaseException) -> str:
    """The text of another library's error without line breaks; it may be empty."""
    return " ".join(str(error).split())


def one_line(error: BaseException) -> str:
    """An error in one line for the user; an unforeseen one is named and points to --debug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory even with the smallest tiles; try --precision bf16"
    text = reason_of(error) or "no message"
    return f"{type(error).__name__}: {text} (add --debug for the traceback)"
