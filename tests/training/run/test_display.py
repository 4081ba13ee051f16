import io
import logging
import os
import re
import subprocess
import sys
import threading

import pytest

from srgan.training.run import display as training_display
from srgan.training.run.display import TrainingDisplay

SPEED = {
    "speed/iterations_per_second": 4.1,
    "speed/patches_per_second": 66.2,
    "speed/data_wait": 0.003,
}
SRRESNET = {"loss/pixel": 0.002132, "validation/psnr_y": 28.912} | SPEED
SRGAN = SRRESNET | {
    "loss/content": 1.3,
    "loss/adversarial": 0.00432,
    "loss/discriminator": 0.512,
    "d_hr": 0.713,
    "d_sr": 0.231,
    "gradient/content": 0.0123,
    "gradient/adversarial": 150.4,
    "schedule/factor": 1.0,
}


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(training_display.time, "monotonic", lambda: self.now)


def test_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with TrainingDisplay("SRResNet in [runs]", total=20000) as display:
        display.update(1, 0, {})
        display.line(1, 0, {"loss/pixel": 0.5})
        clock.now += 600
        display.update(1200, 0.1, {})
        display.line(1200, 0.1, SRRESNET)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "SRResNet in [runs]",
        "iteration 1/20000  pixel 0.500  left -:--:--",
        "iteration 1200/20000  pixel 0.00213  validation psnr_y 28.91  4.1 it/s  66 patches/s  "
        "data 0.3 %  left 1:30:00",
    ]


def test_update_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay("run", total=10) as display:
        display.update(5, 0.5, SRGAN)
    assert capsys.readouterr().err == "run\n"


def test_a_silent_run_shows_that_it_is_alive(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with TrainingDisplay("run", total=10) as display:
        display.update(5, 0.5, {"loss/pixel": 0.5})
        for _ in range(8):
            clock.now += 10
            display.after_silence()
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["iteration 5/10  pixel 0.500  left -:--:--"] * 2  # at 30 and 60 seconds


def test_a_run_that_does_nothing_at_all_is_shown_by_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a long validation: no call reaches the display."""
    monkeypatch.setattr(training_display, "SILENCE", 0.01)
    printed = threading.Event()
    monkeypatch.setattr(TrainingDisplay, "_print_state", lambda _: printed.set())
    with TrainingDisplay("run", total=10):
        assert printed.wait(60)
    assert capsys.readouterr().err == "run\n"


def test_line_of_srgan(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay("run", total=None) as display:
        display.line(300, 0.254, SRGAN)
    line = capsys.readouterr().err.splitlines()[1]
    assert line.startswith("iteration 300 (25%)  pixel 0.00213  content 1.30  ")
    assert "  d_hr 0.71  d_sr 0.23  " in line
    assert "  gradient content 0.0123  gradient adversarial 150  " in line
    assert "factor" not in line


def test_time_left_of_a_resumed_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what this session has done: 10 % in 100 seconds, of which 40 % are left."""
    clock = Clock(monkeypatch)
    with TrainingDisplay("run", total=100) as display:
        display.update(50, 0.5, {})
        display.update(51, 0.51, {})  # at once: no division by zero
        clock.now += 100
        display.line(60, 0.6, {})
        clock.now += 10
        display.line(101, 1.01, {})
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["iteration 60/100  left 0:06:40", "iteration 101/100  left 0:00:00"]


def test_a_value_stays(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay("run", total=10) as display:
        display.line(1, 0.1, {"validation/psnr_y": 20})
        display.line(2, 0.2, {"loss/pixel": float("nan")})
    assert "pixel nan  validation psnr_y 20.00" in capsys.readouterr().err


def test_warnings_and_messages(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("srgan")
    with TrainingDisplay("run", total=10) as display:
        display.message("[red] saved best.safetensors")
        logger.warning("disk %s", "full")
        logger.info("nothing")
    logger.warning("later")
    assert capsys.readouterr().err == "run\n[red] saved best.safetensors\nwarning: disk full\n"


def test_log_that_cannot_be_written_does_not_end_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    with TrainingDisplay("run", total=10) as display:
        display.line(1, 0.1, SRRESNET)


PROGRAM = f"""
import sys
from srgan.training.run.display import TrainingDisplay
with TrainingDisplay("SRGAN in [runs]", total=20000) as display:
    for i in range(1, 11):
        display.update(i * 1000, i / 20, {SRGAN!r})
        display.line(i * 1000, i / 20, {{}})
    display.message("iteration 9000: saved [best]")
"""


def on_terminal(program: str, **environment: str) -> str:
    """What the program writes to a terminal of 80 columns."""
    pty = pytest.importorskip("pty")
    main, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"} | environment
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        output = b""
        try:
            while part := os.read(main, 65536):
                output += part
        except OSError:
            pass  # Linux's way of saying that the other side is closed
    os.close(main)
    assert process.returncode == 0, output.decode()
    return output.decode()


def test_terminal() -> None:
    output = on_terminal(PROGRAM)
    last = output.rsplit("\x1b[2K")[-1]  # after the earlier state was erased
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    assert "iteration 10000/20000" in text
    for part in ("pixel 0.00213", "psnr_y 28.91", "d_hr 0.71", "4.1 it/s", "data 0.3 %"):
        assert part in text
    assert {len(row) for row in text.splitlines() if row} == {80}
    assert "iteration 9000: saved [best]\r\n" in output
    assert "/20000  pixel" not in output  # line() keeps quiet


def test_dumb_terminal_gets_lines() -> None:
    output = on_terminal(PROGRAM, TERM="dumb")
    assert "\x1b" not in output
    assert output.count("pixel 0.00213") == 10
