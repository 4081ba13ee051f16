"""The command as a user meets it: its own process, real files, what it prints and leaves."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import srgan as package
from srgan.cli.commands import COMMANDS
from srgan.models.file import shipped_models
from tests.support.command import Command

ROOT = Path(__file__).parents[2]


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def option_id(value: object) -> str | None:
    return " ".join(map(str, value)) if isinstance(value, list) else None


@pytest.fixture
def model(small_model: Path) -> tuple[str, Path]:
    return "--model", small_model


def test_upscale_one_picture(srgan: Command, photo: Path, tmp_path: Path) -> None:
    result = srgan("upscale", "photo.jpg")
    assert result.returncode == 0
    assert result.stdout.startswith("photo.jpg -> photo_x4.jpg  120x96 -> 480x384")
    assert result.stderr == ""
    assert size(tmp_path / "photo_x4.jpg") == (480, 384)
    assert sorted(tmp_path.iterdir()) == [photo, tmp_path / "photo_x4.jpg"]


def test_runs_where_torch_cannot_be_imported(photo: Path, tmp_path: Path) -> None:
    """As after `pip install .`: importing torch or any training library fails.

    So do three that take long: without a terminal, a small picture needs none of them.
    """
    script = """
import sys
for name in ("torch", "torchvision", "skimage", "scipy", "rich", "numpy.ma", "http.client"):
    sys.modules[name] = None
from srgan.cli.app import main
sys.argv = ["srgan", "upscale", "photo.jpg"]
main()
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert size(tmp_path / "photo_x4.jpg") == (480, 384)


def test_training_says_what_to_install(srgan: Command, tmp_path: Path) -> None:
    """A folder first on the path hides torch, as where it is not installed."""
    hidden = "import sys; sys.modules['torch'] = None; sys.modules['accelerate'] = None"
    (tmp_path / "sitecustomize.py").write_text(hidden)
    done = srgan(
        *("train", "srresnet", "--data-folder", "."),
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 2
    assert "pip install 'srgan[train]'" in done.stderr
    assert srgan("train", "--help", env={"PYTHONPATH": str(tmp_path)}).returncode == 0


def test_nothing_forks_or_connects(photo: Path, tmp_path: Path) -> None:
    """openvino's telemetry would do both; torch is what the auto engine may look for."""
    script = """
import os, sys
forbidden = ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "subprocess.Popen",
             "socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto")
def hook(event, arguments):
    if event in forbidden:
        print(f"{event} {arguments}", file=sys.stderr)
        os._exit(99)
sys.addaudithook(hook)
from srgan.cli.app import main
sys.argv = ["srgan", *sys.argv[1:]]
main()
"""
    for arguments in (["upscale", "photo.jpg"], ["info"], ["models"]):
        subprocess.run([sys.executable, "-c", script, *arguments], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--scale", "1"], ("photo_x1.jpg", (120, 96))),
        (["--scale", "2.5"], ("photo_x2.5.jpg", (300, 240))),
        (["--width", "300"], ("photo_w300.jpg", (300, 240))),
        (["--height", "480"], ("photo_h480.jpg", (600, 480))),
        (["--width", "300", "--height", "100"], ("photo_w300h100.jpg", (125, 100))),
        (["--format", "png"], ("photo_x4.png", (480, 384))),
        (["--suffix", "_big"], ("photo_big.jpg", (480, 384))),
        (["-o", "deep/down/large.webp"], ("deep/down/large.webp", (480, 384))),
        (["-o", "large"], ("large/photo.jpg", (480, 384))),
        (["-o", "large/", "--suffix", "_big"], ("large/photo_big.jpg", (480, 384))),
        (["--quality", "40"], ("photo_x4.jpg", (480, 384))),
        (["--tta", "--precision", "fp32", "--threads", "1"], ("photo_x4.jpg", (480, 384))),
        (["--tile", "64"], ("photo_x4.jpg", (480, 384))),
    ],
    ids=option_id,
)
def test_options(
    srgan: Command,
    photo: Path,
    tmp_path: Path,
    model: tuple[str, Path],
    options: list[str],
    expected: tuple[str, tuple[int, int]],
) -> None:
    """Each holds for one file and for a folder alike."""
    name, expected_size = expected
    assert srgan("upscale", "photo.jpg", *model, *options).returncode == 0
    assert size(tmp_path / name) == expected_size
    if "." in options[1] and options[0] == "-o":
        return  # one file
    folder = tmp_path / "folder" / "sub"
    folder.mkdir(parents=True)
    photo.rename(folder / "photo.jpg")
    assert srgan("upscale", "folder", *model, *options).returncode == 0
    made = {p for p in tmp_path.rglob("*.*") if p.parent.name == "sub"} - {folder / "photo.jpg"}
    assert [size(path) for path in made] == [expected_size]


def test_quality_changes_the_file(
    srgan: Command, photo: Path, tmp_path: Path, model: tuple[str, Path]
) -> None:
    srgan("upscale", photo, *model, "-o", "a.jpg", "--quality", "30")
    srgan("upscale", photo, *model, "-o", "b.jpg")
    assert 2 * (tmp_path / "a.jpg").stat().st_size < (tmp_path / "b.jpg").stat().st_size


def test_a_folder_keeps_its_tree_and_gets_a_folder_beside_it(
    srgan: Command, tmp_path: Path, model: tuple[str, Path], astronaut: np.ndarray
) -> None:
    for name in ("a.png", "sub/b.JPG", "sub/deep/c.bmp"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(astronaut).save(path)
    (tmp_path / "album" / "notes.txt").write_text("not a picture")
    assert srgan("upscale", "album", *model).returncode == 0
    made = sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "album_x4").rglob("*.*"))
    assert made == ["album_x4/a.png", "album_x4/sub/b.JPG", "album_x4/sub/deep/c.png"]


def test_results_inside_the_folder_are_no_input_of_the_next_run(
    srgan: Command, photo: Path, tmp_path: Path, model: tuple[str, Path]
) -> None:
    for _ in range(2):
        assert srgan("upscale", ".", *model, "-o", "sub/large", "--overwrite").returncode == 0
    assert [p.name for p in (tmp_path / "sub").rglob("*")] == ["large", "photo.jpg"]


def test_globs_are_expanded(srgan: Command, photo: Path, model: tuple[str, Path]) -> None:
    photo.with_name("other.png").write_bytes(photo.read_bytes())
    result = srgan("upscale", "*.jpg", "*.png", *model)
    assert result.returncode == 0
    assert result.stdout.count("->") == 4


def test_one_bad_file_does_not_stop_the_others(
    srgan: Command, photo: Path, tmp_path: Path, model: tuple[str, Path]
) -> None:
    (tmp_path / "a_broken.jpg").write_bytes(photo.read_bytes()[:-2000])
    (tmp_path / "b_empty.png").write_bytes(b"")
    (tmp_path / "c_text.png").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling.png").symlink_to("nowhere")
    result = srgan("upscale", tmp_path, "missing.jpg", "empty", "none/*.png", *model, "-o", "out/")
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    bad = ["a_broken.jpg", "b_empty.png", "c_text.png", "dangling.png", "missing.jpg"]
    for name in (*bad, "none/*.png", "empty: no pictures in this folder"):
        assert sum(name in line for line in lines) == 1
    assert lines[-1] == "1 of 8 pictures done, 7 failed"
    assert "Traceback" not in result.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["photo.jpg"]


def test_never_overwrites_unless_told(
    srgan: Command, photo: Path, tmp_path: Path, model: tuple[str, Path]
) -> None:
    existing = tmp_path / "photo_x4.jpg"
    existing.write_bytes(b"precious")
    result = srgan("upscale", photo, *model)
    assert result.returncode == 1
    assert "photo_x4.jpg: exists; use --overwrite" in result.stderr
    assert existing.read_bytes() == b"precious"
    assert srgan("upscale", photo, *model, "--overwrite").returncode == 0
    assert size(existing) == (480, 384)


def test_never_replaces_its_own_input(srgan: Command, photo: Path, model: tuple[str, Path]) -> None:
    before = photo.read_bytes()
    for options in (["--suffix", ""], ["-o", photo], ["-o", "."]):
        result = srgan("upscale", photo, *model, *options, "--overwrite")
        assert result.returncode == 1
        assert "would replace it" in result.stderr
    assert photo.read_bytes() == before


def test_never_replaces_another_input(
    srgan: Command, photo: Path, tmp_path: Path, model: tuple[str, Path]
) -> None:
    other = tmp_path / "photo_x4.jpg"
    other.write_bytes(photo.read_bytes())
    result = srgan("upscale", "photo.jpg", "photo_x4.jpg", *model, "--overwrite")
    assert result.returncode == 1
    assert "photo_x4.jpg: the result would replace another picture" in result.stderr
    assert other.read_bytes() == photo.read_bytes()
    assert size(tmp_path / "photo_x4_x4.jpg") == (480, 384)


def test_a_picture_named_twice_is_done_once(
    srgan: Command, photo: Path, model: tuple[str, Path]
) -> None:
    result = srgan("upscale", "photo.jpg", photo, *model)
    assert (result.returncode, result.stdout.count("->")) == (0, 2)


def test_names_that_the_terminal_cannot_write(
    srgan: Command, photo: Path, tmp_path: Path, model: tuple[str, Path]
) -> None:
    photo.rename(tmp_path / "größe [1].jpg")
    result = srgan("upscale", ".", *model, env={**os.environ, "PYTHONIOENCODING": "ascii:strict"})
    assert result.returncode == 0
    assert "\\xf6" in result.stdout


def test_a_reader_that_leaves_gives_no_traceback(
    photo: Path, tmp_path: Path, small_model: Path
) -> None:
    command = f"{sys.executable} -m srgan.cli models --json | true"
    result = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    Image.fromarray(data.coffee()[:200, :300]).save(tmp_path / "photo.png")
    shown: list[bytes] = []

    def read(descriptor: int) -> bytes:
        shown.append(os.read(descriptor, 1024))
        return shown[-1]

    command = [sys.executable, "-m", "srgan.cli", "upscale", str(tmp_path / "photo.png")]
    assert pty.spawn([*command, "--threads", "1", "--tile", "64"], read) == 0
    for text in (b"photo.png", b"MP/s", b"left", b"-> 1200x800"):
        assert text in b"".join(shown)


def test_two_pictures_never_share_a_result(
    srgan: Command, photo: Path, model: tuple[str, Path]
) -> None:
    photo.with_suffix(".webp").write_bytes(photo.read_bytes())
    result = srgan("upscale", "photo.jpg", "photo.webp", "--format", "png", *model, "--overwrite")
    assert result.returncode == 1
    assert (
        "photo.webp: its result photo_x4.png is also the result of photo.jpg: use" in result.stderr
    )


def test_dry_run_does_nothing(
    srgan: Command, photo: Path, tmp_path: Path, model: tuple[str, Path]
) -> None:
    result = srgan("upscale", photo, "missing.png", *model, "--dry-run", "-o", "out/")
    assert result.returncode == 1
    assert "photo.jpg -> out/photo.jpg  120x96 -> 480x384" in result.stdout
    assert sorted(tmp_path.iterdir()) == [photo]


def test_json_is_one_object_a_picture(srgan: Command, photo: Path, model: tuple[str, Path]) -> None:
    result = srgan("upscale", "photo.jpg", "missing.png", *model, "--json")
    done, failed = map(json.loads, result.stdout.splitlines())
    assert done["status"] == "done"
    assert (done["input"], done["output"]) == ("photo.jpg", "photo_x4.jpg")
    assert (done["size"], done["result_size"]) == ([120, 96], [480, 384])
    assert done["seconds"] > 0
    assert failed["status"] == "failed"
    assert "missing.png" in failed["reason"]
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scale", "9"], "--scale must be from 1 to 8"),
        (["--scale", "0.5"], "--scale must be from 1 to 8"),
        (["--scale", "2", "--width", "9"], "either --scale or --width"),
        (["--width", "0"], "at least 1"),
        (["--quality", "101"], "from 1 to 100"),
        (["--tile", "10"], "at least 64"),
        (["--threads", "0"], "at least 1"),
        (["--format", "svg"], "svg: srgan cannot write this format: use one of jpeg, png,"),
        (["-o", "large.xyz"], "large.xyz: srgan cannot write this format: use one of .jpg,"),
        (["--suffix", "a/b"], "no slashes"),
        (["--precision", "fp8"], "fp8"),
        (["--colour"], "--colour"),
        (["other.jpg", "-o", "one.png"], "one file cannot hold several"),
        (["-o", "one.png", "--format", "webp"], "leave out --format"),
        (["-o", "one.png", "--suffix", "_big"], "leave out --suffix"),
    ],
    ids=option_id,
)
def test_wrong_usage_is_code_2(
    srgan: Command, photo: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    result = srgan("upscale", photo, *options)
    assert result.returncode == 2
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.iterdir()) == [photo]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--model", "nope"], "nope: no such model"),
        (["--precision", "int8", "--engine", "torch"], "int8"),
        (["--compile", "--engine", "openvino"], "--engine torch"),
        (["--max-pixels", "1000"], "--max-pixels"),
        (["--width", "5000"], "at most 8"),
        (["-o", "/proc/large.png"], "/proc/large.png"),
        (["-o", "photo.jpg/x/large.png"], "photo.jpg/x"),
        (["-o", "photo.jpg/"], "photo.jpg: a file has the folder's name"),
    ],
    ids=option_id,
)
def test_failures_are_one_line_and_code_1(
    srgan: Command, photo: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    result = srgan("upscale", "photo.jpg", *options)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert sorted(tmp_path.iterdir()) == [photo]


def test_result_too_large_for_its_format_is_said_before_work(
    srgan: Command, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((3, 5000, 3), np.uint8)).save(tmp_path / "wide.webp")
    result = srgan("upscale", "wide.webp", "--dry-run")
    assert result.returncode == 1
    assert "20,000 x 12" in result.stderr
    assert "--format" in result.stderr


def test_debug_gives_the_traceback(srgan: Command, tmp_path: Path) -> None:
    assert "Traceback" in srgan("upscale", tmp_path / "missing.png", "--debug").stderr


@pytest.mark.parametrize("delay", [0, 0.01, 0.5])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_stopped_midway_leaves_nothing(tmp_path: Path, name: str, code: int, delay: float) -> None:
    """Also in the moments when libvips decodes and its callbacks swallow exceptions."""
    Image.fromarray(np.tile(data.coffee(), (3, 3, 1))).save(tmp_path / "large.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "srgan.cli", "upscale", "large.png", "--threads", "1"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored under nohup
    )
    while len(list(tmp_path.iterdir())) < 2 and process.poll() is None:
        time.sleep(0.001)  # until the temporary file of the result is there
    time.sleep(delay)
    process.send_signal(getattr(signal, name))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in stderr
    assert [p.name for p in tmp_path.iterdir()] == ["large.png"]


def test_full_disk_leaves_nothing(photo: Path, tmp_path: Path) -> None:
    """A file size limit stands in for a full disk."""
    script = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from srgan.cli.app import main
sys.argv = ["srgan", "upscale", "photo.jpg", "--format", "png"]
main()
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "photo_x4.png" in result.stderr
    assert sorted(tmp_path.iterdir()) == [photo]


def test_models_shows_cards(srgan: Command) -> None:
    assert "srresnet-x4" in srgan("models").stdout
    described = [json.loads(line) for line in srgan("models", "--json").stdout.splitlines()]
    assert [m["name"] for m in described] == list(shipped_models())


def test_info_tells_versions(srgan: Command) -> None:
    facts = json.loads(srgan("info", "--json").stdout)
    assert facts["srgan"] == package.__version__
    assert facts["models"] == list(shipped_models())
    assert "openvino" in srgan("info").stdout


def test_help_lists_every_command_by_what_its_function_says(srgan: Command) -> None:
    """`srgan --help` must not import the functions, so it has their first lines again."""
    for name, (place, line) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(f"srgan.cli.{module}"), attribute)
        assert name in command.name
        if command.default_command:  # unlike train and cluster, which are groups
            assert command.default_command.__doc__.splitlines()[0] == line
    text = " ".join(srgan("--help").stdout.split())
    assert [name for name in COMMANDS if f" {name} " not in text] == []


def test_a_command_does_not_wait_for_the_others() -> None:
    script = """
import sys
from srgan.cli.commands import app
app(["info", "--json"], result_action="return_value")
loaded = [name for name in sys.modules if name.startswith(("srgan.training", "srgan.cluster"))]
sys.exit(", ".join(loaded) or 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_every_option(srgan: Command) -> None:
    text = srgan("upscale", "--help").stdout
    options = "output model scale width height format quality suffix tta tile engine precision"
    for option in (*options.split(), "threads", "overwrite", "dry-run", "json", "max-pixels"):
        assert f"--{option}" in text
    assert "srgan upscale photo.jpg" in text


@pytest.mark.parametrize(("script", "label"), [("srresnet", "srresnet"), ("srgan", "srgan")])
def test_the_seeds_commands(
    photo: Path, tmp_path: Path, small_model: Path, script: str, label: str
) -> None:
    command = [sys.executable, ROOT / f"test_{script}.py", "--image_path", photo]
    command += [f"--{script}_ckpt", small_model]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    names = [f"photo_{label}.png", f"photo_{label}_comparison.png"]
    assert result.stdout.splitlines() == names
    assert size(tmp_path / names[0]) == (480, 384)
    assert size(tmp_path / names[1]) == (2 * 480 + 8, 384 + 40)
    result = subprocess.run(
        [*command, "--output_dir", "there"], cwd=tmp_path, check=True, capture_output=True
    )
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == names


def test_the_seeds_command_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "test_srresnet.py", "--image_path", "missing.png"]
    result = subprocess.run(
        [*command, "--srresnet_ckpt", "srresnet-x4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "srgan: missing.png: there is no such file: check the name\n"
