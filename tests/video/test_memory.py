"""Memory does not grow with the length of a video."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.clips import Clip, moving, write_clip

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from srgan.upscaling.reuse import Reuse
from srgan.video.convert import run
from srgan.video.options import VideoOptions
from srgan.video.plan import plan_video

source = Path(sys.argv[1])
options = VideoOptions(preset="ultrafast")
job = plan_video(source, f"{source.stem}_large.mp4", options, 4, 10**8)
compute = Reuse(lambda frame, _gray: frame.repeat(4, 0).repeat(4, 1), 4, 16)
run(job, compute, lambda _, result: result, lambda _: None)
# Not getrusage: its peak includes the process that started this one.
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(peak.split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's count of memory")
def test_six_times_the_frames_need_the_same_memory(tmp_path: Path) -> None:
    photo = moving(1, (48, 160))[0]
    peaks: list[int] = []
    for count in (40, 240):
        frames = [np.ascontiguousarray(np.roll(photo, k, 1)[:, :64]) for k in range(count)]
        name = f"{count}.mp4"
        write_clip(tmp_path / name, frames, Clip(options={"preset": "ultrafast"}, tracks=["aac"]))
        command = [sys.executable, "-c", SCRIPT, name]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))
    assert peaks[1] < 1.1 * peaks[0]
