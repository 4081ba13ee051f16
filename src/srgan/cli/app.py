"""Entry point of the `srgan` command: expects Ctrl-C before it imports anything slow."""

import os

TYPE_CHECKING = False  # typing itself takes longer to import than everything here
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the `srgan` command. Ctrl-C ends it in silence, also while modules are imported."""
    _leave_at_ctrl_c()
    # numpy's products are small; its threads would spin beside those of the network.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from srgan.cli.commands import app
    from srgan.cli.run import run

    run(app)


def _leave(*_: object) -> None:
    os._exit(130)  # 128 + SIGINT


def _leave_at_ctrl_c() -> None:
    """End the process at Ctrl-C, until `run` takes over; there is nothing to clean up yet.

    An exception could get lost: compiled modules that are being imported print or swallow it.
    """
    signal = __import__("_signal")  # the module below signal: that one imports enum first
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
