import io
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srgan.networks.architecture import Architecture
from srgan.networks.generator import Generator
from srgan.training import optimizers as optim
from srgan.training.optimizers import Muon, Natural, build_optimizer, orthogonalise, scale_rates
from srgan.training.options import OptimizerKind


def reference_update(momentum: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Jordan's Muon for one kernel in float64: the Nesterov momentum, orthogonalised."""
    matrix = (0.05 * gradient + 0.95 * momentum).reshape(len(gradient), -1)
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x * max(1, x.shape[0] / x.shape[1]) ** 0.5).reshape(gradient.shape)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4, 64, 576), (1, 256, 576), (2, 64, 27)])
@pytest.mark.parametrize("size", [1e-6, 1.0])
def test_update_is_orthogonal(
    shape: tuple[int, ...], size: float, dtype: torch.dtype | None
) -> None:
    matrices = size * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    update = orthogonalise(matrices, dtype)
    assert update.dtype == torch.float32
    values = torch.linalg.svdvals(update)
    assert values.min() > 0.65 and values.max() < 1.25
    # The same singular vectors: what is left of them is positive on the diagonal only.
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    core = u.mT @ update @ vt.mT
    assert (core - torch.diag_embed(values.new_ones(values.shape))).abs().max() < 0.4


def test_no_gradient_at_all_is_no_update() -> None:
    assert torch.equal(orthogonalise(torch.zeros(2, 8, 72)), torch.zeros(2, 8, 72))


def test_steps_agree_with_unbatched_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "_product_dtype", lambda _: torch.float32)
    rng = np.random.default_rng(0)
    shapes = [(16, 8, 3, 3), (16, 2, 3, 3), (40, 1, 3, 3), (16, 8, 3, 3)]
    expected = [rng.normal(size=shape) for shape in shapes]
    kernels = [nn.Parameter(torch.from_numpy(k).float()) for k in expected]
    kernels[0].data = kernels[0].data.contiguous(memory_format=torch.channels_last)
    optimizer = Muon(kernels, [], kernel_rate=0.02, rate=1, betas=(0.9, 0.99))
    momenta = [np.zeros(shape) for shape in shapes]
    for _ in range(3):
        for i, kernel in enumerate(kernels):
            gradient = rng.normal(size=shapes[i]) * 10.0**-i
            kernel.grad = torch.from_numpy(gradient).float()
            momenta[i] = 0.95 * momenta[i] + 0.05 * gradient
            expected[i] = expected[i] - 0.02 * reference_update(momenta[i], gradient)
        optimizer.step()
    for kernel, value in zip(kernels, expected, strict=True):
        np.testing.assert_allclose(kernel.detach().numpy(), value, atol=2e-6)


def test_natural_gradient_agrees_with_float64() -> None:
    """Gradients of a size of their own in every place; covariances are seldom from 60 on."""
    rng = np.random.default_rng(0)
    shape = (16, 8, 3, 3)
    expected = rng.normal(size=shape)
    kernel = nn.Parameter(torch.from_numpy(expected).float())
    kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
    optimizer = Natural([kernel], [], kernel_rate=0.02, rate=1, betas=(0.9, 0.99))
    sizes = 1e-3 * 10 ** rng.uniform(-1, 1, size=(16, 72))
    momentum, variance, left, right = (
        np.zeros(s) for s in ((16, 72), (16, 72), (16, 16), (72, 72))
    )
    left_basis = right_basis = None
    for update in range(1, 103):
        gradient = sizes * rng.normal(size=(16, 72))
        kernel.grad = torch.from_numpy(gradient.reshape(shape)).float()
        optimizer.step()
        momentum += 0.05 * (gradient - momentum)
        if update <= 60 or update % 4 == 0:
            share = 0.01 if update <= 60 else 1 - 0.99**4
            left += share * (gradient @ gradient.T - left)
            right += share * (gradient.T @ gradient - right)
        if update in (10, 30, 60, 100):
            left_basis, right_basis = (np.linalg.eigh(x)[1] for x in (left, right))
        if left_basis is None or right_basis is None:
            np.testing.assert_array_equal(kernel.detach().numpy(), expected.astype(np.float32))
            continue
        variance += 0.01 * ((left_basis.T @ gradient @ right_basis) ** 2 - variance)
        turned = left_basis.T @ momentum @ right_basis
        move = left_basis @ (turned / (variance + 0.03 * variance.mean())) @ right_basis.T
        expected -= 0.02 * (move * 16**0.5 / np.linalg.norm(move)).reshape(shape)
    np.testing.assert_allclose(kernel.detach().numpy(), expected, atol=1e-4)


def test_the_rest_is_torchs_adam() -> None:
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in [(5, 3, 9, 9), (5,), ()]]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    muon = Muon([], ours, kernel_rate=1, rate=1e-3, betas=(0.9, 0.99))
    adam = torch.optim.Adam(theirs, lr=1e-3, betas=(0.9, 0.99), eps=1e-8, foreach=False)
    for _ in range(4):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape)
            q.grad = p.grad.clone()
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_muon_takes_blocks_trunk_and_upsampling(scale: int) -> None:
    generator = Generator(Architecture(blocks=2, channels=8, scale=scale))
    upsamplings = len(generator.architecture.steps)
    expected = {f"blocks.{i}.conv{j}.weight" for i in range(2) for j in (1, 2)}
    expected |= {f"upsample.{i}.conv.weight" for i in range(upsamplings)} | {"trunk.conv.weight"}
    names = {id(p): name for name, p in generator.named_parameters()}
    muon, adam = build_optimizer(generator, muon_rate=0.02, rate=1e-3).param_groups
    assert {names[id(p)] for p in muon["params"]} == expected
    assert {names[id(p)] for p in adam["params"]} == set(names.values()) - expected
    assert (muon["lr"], adam["lr"], adam["betas"]) == (0.02, 1e-3, (0.9, 0.99))


def test_adam_takes_everything() -> None:
    generator = Generator(Architecture(blocks=2, channels=8))
    optimizer = build_optimizer(generator, "adam", rate=1e-4, betas=(0.9, 0.999))
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.Adam)
    assert len(group["params"]) == len(list(generator.parameters()))
    assert (group["lr"], group["betas"]) == (1e-4, (0.9, 0.999))


@pytest.mark.parametrize("kind", get_args(OptimizerKind))
def test_parameters_without_gradient_stay(kind: OptimizerKind) -> None:
    generator = Generator(Architecture(blocks=1, channels=8))
    generator.trunk.requires_grad_(False)
    before = {name: p.detach().clone() for name, p in generator.named_parameters()}
    optimizer = build_optimizer(generator, kind)
    for _ in range(10):  # the natural gradient moves nothing before
        generator(torch.rand(1, 3, 8, 8)).sum().backward()
        generator.tail.weight.grad = None
        optimizer.step()
    same = {name for name, p in generator.named_parameters() if torch.equal(p, before[name])}
    assert same == {name for name in before if name.startswith("trunk.")} | {"tail.weight"}


@pytest.mark.parametrize("kind", get_args(OptimizerKind))
def test_scale_rates_is_of_the_first_rates(kind: OptimizerKind) -> None:
    optimizer = build_optimizer(nn.Conv2d(3, 8, 3), kind, rate=1e-3, muon_rate=0.02)
    first = [group["lr"] for group in optimizer.param_groups]
    scale_rates(optimizer, 0.5)
    scale_rates(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [r / 10 for r in first]
    )


def train(generator: Generator, optimizer: torch.optim.Optimizer, hr: Tensor, steps: int) -> float:
    """A few steps on one photograph; the last loss."""
    lr = nn.functional.avg_pool2d(hr, 4)
    loss = torch.tensor(torch.nan)
    for step in range(steps):
        scale_rates(optimizer, 1 - step / steps)
        optimizer.zero_grad()
        loss = (generator(lr) - hr).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.fixture
def hr(astronaut: np.ndarray) -> Tensor:
    """A photograph: 1 x 3 x 64 x 64, RGB in [0, 1]."""
    return torch.from_numpy(astronaut[:64, :64]).permute(2, 0, 1).div(255)[None].contiguous()


def small_generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator(Architecture(blocks=2, channels=8))
    return generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", get_args(OptimizerKind))
def test_saved_and_restored_continues_bit_exactly(kind: OptimizerKind, hr: Tensor) -> None:
    straight = small_generator()
    optimizer = build_optimizer(straight, kind)
    train(straight, optimizer, hr, 12)
    file = io.BytesIO()
    torch.save([straight.state_dict(), optimizer.state_dict()], file)
    train(straight, optimizer, hr, 20)

    file.seek(0)
    network_state, optimizer_state = torch.load(file, weights_only=True)
    resumed = small_generator()
    resumed.load_state_dict(network_state)
    optimizer = build_optimizer(resumed, kind, rate=7, muon_rate=7)
    optimizer.load_state_dict(optimizer_state)
    train(resumed, optimizer, hr, 20)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize(("kind", "steps"), [("muon", 60), ("natural", 100), ("adam", 60)])
def test_generator_learns_a_photograph(hr: Tensor, kind: OptimizerKind, steps: int) -> None:
    generator = small_generator()
    loss = train(generator, build_optimizer(generator, kind, rate=1e-3), hr, steps)
    variance = (hr - hr.mean((2, 3), keepdim=True)).square().mean().item()
    assert loss < 0.3 * variance


def test_muon_alone_finds_the_kernel_that_made_the_data(hr: Tensor) -> None:
    torch.manual_seed(0)
    teacher, student = (nn.Conv2d(3, 8, 3, bias=False) for _ in range(2))
    optimizer = build_optimizer(student, muon_rate=0.1)
    losses = []
    for step in range(100):
        scale_rates(optimizer, 1 - step / 100)
        optimizer.zero_grad()
        loss = (student(hr - 0.5) - teacher(hr - 0.5)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.003 * losses[0]


def test_closure_is_called_with_gradients() -> None:
    layer = nn.Conv2d(3, 8, 3)
    optimizer = build_optimizer(layer)

    def closure() -> float:
        optimizer.zero_grad()
        loss = layer(torch.ones(1, 3, 5, 5)).square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) > optimizer.step(closure)
