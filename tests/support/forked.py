"""The `srgan` command in a process that has PyTorch already: importing it takes seconds."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["srgan.cli.commands", "srgan.cli.train", "srgan.training.trainer", "srgan.models.load"]
)


def run_forked(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `srgan ARGUMENTS...` in a folder, for two minutes at most."""
    command = ["srgan", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as said:
        process = SERVER.Process(target=_become, args=(folder, command, said))
        process.start()
        process.join(120)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, 120)
        output, errors = (Path(said, name).read_text() for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(command, process.exitcode, output, errors)


def _become(folder: Path, command: list[str], said: str) -> None:
    os.chdir(folder)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        os.dup2(os.open(Path(said, name), os.O_WRONLY | os.O_CREAT), number)
    sys.argv = command
    from srgan.cli.app import main

    main()
