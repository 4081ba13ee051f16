"""A step gives the device work and never waits for its results: only the log, saves and
validations do. And what becomes of updates that are not finite, which the device alone sees."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srgan.training.network import NetworkInTraining
from srgan.training.optimizers import build_optimizer, set_skip
from srgan.training.options import OptimizerOptions
from srgan.training.pixel_step import PixelStep
from srgan.training.run.folder import load_state
from srgan.training.run.logbook import RunError, read_metrics
from srgan.training.step import Batch
from srgan.training.train import train
from srgan.training.trainer import Trainer
from tests.support.training import photos, small_config, small_srgan

# What waits for a GPU: a number of a tensor, as item(), bool(), float() and int() read it, also
# inside libraries; and sizes that depend on values.
WAITING = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "unique", "_unique2")


class Waits(TorchDispatchMode):
    """Collects what waits for the device, where it is not `allowed`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._allowed = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.overloadpacket.__name__ in WAITING:
            self.add(str(func))
        return func(*args, **kwargs or {})

    def add(self, name: str) -> None:
        if not self._allowed:
            self.found.append(name)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        before, self._allowed = self._allowed, True
        yield
        self._allowed = before


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Counts in `Trainer.run`, but for its log, validations, saves and its end."""
    waits = Waits()
    for name in ("tolist", "cpu"):  # these go past the mode
        own = getattr(Tensor, name)

        def watched(self: Tensor, *args: Any, own: Any = own, name: str = name, **kw: Any) -> Any:
            waits.add(name)
            return own(self, *args, **kw)

        monkeypatch.setattr(Tensor, name, watched)
    for name in ("_log", "_validate", "_save", "_good"):
        allowed = getattr(Trainer, name)

        def wrapped(self: Trainer, *args: Any, allowed: Any = allowed, **kw: Any) -> Any:
            with waits.allowed():
                return allowed(self, *args, **kw)

        monkeypatch.setattr(Trainer, name, wrapped)
    run = Trainer.run

    def counted(self: Trainer, *args: Any) -> int:
        with waits:
            return run(self, *args)

    monkeypatch.setattr(Trainer, "run", counted)
    return waits


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("srresnet", "fp32"), ("srgan", "bf16"), ("srgan", "fp32"), ("the paper's srgan", "bf16")],
)
def test_no_step_waits_for_the_device(
    tmp_path: Path, waits: Waits, kind: str, precision: Any
) -> None:
    config = small_config(photos(tmp_path / "photos"), iterations=4)
    config = replace(
        config,
        data=replace(config.data, degradation="bicubic,blurry"),
        run=replace(config.run, precision=precision, log_every=2, accumulate=2),
        optimizer=OptimizerOptions(optimizer="muon", clip=1.0),
    )
    if kind == "srgan":
        config = small_srgan(config, tmp_path)
    elif kind == "the paper's srgan":
        config = small_srgan(
            config,
            tmp_path,
            discriminator="picture",
            content_loss="mse",
            pixel_weight=1.0,
            adversarial_loss="standard",
            pixel_loss="rmse",
        )
    train(config, tmp_path / "run", resume=False)
    assert waits.found == []
    assert [line["iteration"] for line in read_metrics(tmp_path / "run") if "finite" in line] == [
        2,
        4,
    ]


def poisoned(monkeypatch: pytest.MonkeyPatch, when: Callable[[int], bool]) -> None:
    """Make the gradients of some updates, counted from 1, not finite."""
    step, numbers = PixelStep.__call__, itertools.count(1)

    def poison(self: PixelStep, batches: list[Batch]) -> dict[str, Tensor]:
        if when(next(numbers)):
            batches = [Batch(lr, hr * float("nan")) for lr, hr in batches]
        return step(self, batches)

    monkeypatch.setattr(PixelStep, "__call__", poison)


@pytest.mark.parametrize("kind", ["muon", "natural", "adam"])
def test_a_skipped_update_changes_nothing_to_the_bit(kind: Any) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 3, 1))
    optimizer = build_optimizer(network, kind)

    def step(skip: float = 0.0, factor: float = 1.0) -> None:
        for parameter in network.parameters():
            parameter.grad = factor * torch.randn(parameter.shape)
        set_skip(optimizer, torch.tensor(skip))
        optimizer.step()

    for _ in range(12):  # the natural gradient has its bases from 10 on
        step()
    before = [p.detach().clone() for p in network.parameters()]
    saved = {
        (i, name): value.clone()
        for i, state in enumerate(optimizer.state.values())
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    step(1.0, float("nan"))
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
    for i, state in enumerate(optimizer.state.values()):
        for name, value in state.items():
            if isinstance(value, Tensor):
                assert torch.equal(value, saved[i, name]), name
    step()
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert not torch.equal(parameter, old)
        assert parameter.isfinite().all()


def test_the_log_says_how_many_updates_were_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fewer in a row than would stop the run; all that is saved is finite."""
    poisoned(monkeypatch, lambda number: number in (2, 3, 4, 6))
    config = small_config(photos(tmp_path / "photos"), iterations=8)
    config = replace(config, run=replace(config.run, log_every=8, save_every=1))
    train(config, tmp_path / "run", resume=False)
    assert "iteration 8: a gradient was not finite in 4 of the last 8 iterations" in caplog.text
    state = load_state(tmp_path / "run")
    assert state["iteration"] == 8
    assert all(tensor.isfinite().all() for tensor in state["ema"].values())
    assert all(tensor.isfinite().all() for tensor in state["step"]["generator"]["network"].values())


def test_too_many_skipped_in_a_row_stop_the_run_at_the_next_line_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, lambda number: number > 2)
    config = small_config(photos(tmp_path / "photos"), iterations=100)
    config = replace(config, run=replace(config.run, log_every=10, validate_every=1000))
    with pytest.raises(RunError, match="in 8 iterations in a row, up to 10; "):
        train(config, tmp_path / "run", resume=False)


def test_weights_that_are_not_finite_are_never_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient that is finite can move weights out of the range of float32, too."""
    update, numbers = NetworkInTraining.update, itertools.count(1)

    def explode(self: NetworkInTraining) -> Tensor:
        finite = update(self)
        if next(numbers) == 4:
            with torch.no_grad():
                next(self.network.parameters()).fill_(float("inf"))
        return finite

    monkeypatch.setattr(NetworkInTraining, "update", explode)
    config = small_config(photos(tmp_path / "photos"), iterations=100)
    config = replace(config, run=replace(config.run, log_every=10, save_every=1))
    with pytest.raises(RunError, match="the last saved state is good"):
        train(config, tmp_path / "run", resume=False)
    state = load_state(tmp_path / "run")
    assert state["iteration"] == 3
    assert all(tensor.isfinite().all() for tensor in state["ema"].values())
