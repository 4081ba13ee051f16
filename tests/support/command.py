"""The type of the `srgan` fixture: the command as a user runs it."""

import subprocess
from collections.abc import Callable

Command = Callable[..., subprocess.CompletedProcess[str]]
