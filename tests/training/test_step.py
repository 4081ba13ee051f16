"""Steps: losses, where gradients go, accumulation, updates that are skipped."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from srgan.degradation.bicubic import bicubic_lr, unit
from srgan.errors import OptionError
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture
from srgan.networks.discriminator import Discriminator
from srgan.networks.features import FeatureExtractor
from srgan.networks.generator import Generator
from srgan.pictures.resample import bicubic
from srgan.training.adversarial_step import AdversarialStep
from srgan.training.losses import (
    consistency_loss,
    content_loss,
    grid_loss,
    pixel_loss,
    spectrum_loss,
)
from srgan.training.network import NetworkInTraining, placed
from srgan.training.options import OptimizerOptions, PixelLoss, SRGANOptions, SRResNetOptions
from srgan.training.pixel_step import PixelStep
from srgan.training.step import Batch
from tests.support.weights import random_weights

SMALL = Architecture(blocks=1, channels=8)
ADAM = OptimizerOptions(optimizer="adam", rate=1e-3)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Accelerator]:
    """With PyTorch's convolutions: what plain autograd gives is compared, and where an activation
    is at its bend, a difference of 1e-6 is one of a hundredth in the gradient."""
    monkeypatch.setattr("srgan.training.network.use_winograd", lambda _network: None)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=True, mixed_precision="no")
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def batches(astronaut: np.ndarray) -> list[Batch]:
    """Two micro-batches of two crops of 48 x 48."""
    crops = [astronaut[top : top + 48, left : left + 48] for top in (0, 48) for left in (0, 60)]
    hr = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return [Batch(bicubic_lr(part, 4), unit(part)) for part in hr.split(2)]


@pytest.fixture(scope="session")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first layers of a VGG19 with random weights."""
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file(random_weights("vgg19", 6), path)
    return path


def generator() -> Generator:
    """In the memory format of training: others have other kernels, which round otherwise."""
    torch.manual_seed(0)
    return Generator(SMALL).to(memory_format=torch.channels_last)


def adversarial_step(
    accelerator: Accelerator, vgg: Path, optimizer: OptimizerOptions = ADAM, **changed: Any
) -> AdversarialStep:
    """The paper's discriminator, one layer by MSE: plain autograd follows in a few lines."""
    options: dict[str, Any] = {
        "layer": ((2, 1),),
        "content_loss": "mse",
        "adversarial_loss": "standard",
        "discriminator": "picture",
        "jitter": False,
        **changed,
    }
    method = SRGANOptions(features=str(vgg), **options)
    return AdversarialStep(generator(), method, optimizer, accelerator)


def pixel_step(
    accelerator: Accelerator, optimizer: OptimizerOptions = ADAM, method: Any = None
) -> PixelStep:
    return PixelStep(generator(), method or SRResNetOptions(), optimizer, accelerator)


def flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def gradients(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[type, Tensor]:
    """The gradients that the last update of each kind of network was made with."""
    seen: dict[type, Tensor] = {}
    update = NetworkInTraining.update

    def watched(self: NetworkInTraining) -> Tensor:
        seen[type(self.network)] = gradients(self.network)
        return update(self)

    monkeypatch.setattr(NetworkInTraining, "update", watched)
    return seen


def test_a_teacher_shares_the_target_but_flat_crops_keep_theirs(
    accelerator: Accelerator, batches: list[Batch], seen: dict[type, Tensor]
) -> None:
    lr, hr = batches[0]
    hr, lr = hr.clone(), lr.clone()
    hr[1], lr[1] = 1.0, 1.0
    hr, lr = hr.repeat(1, 1, 2, 2), lr.repeat(1, 1, 2, 2)  # longer than two borders of 32
    method = SRResNetOptions(teacher="srgan-x4", teacher_weight=0.25)
    step = pixel_step(accelerator, method=method)
    taught = Generator.from_checkpoint(load_checkpoint("srgan-x4"))(lr).detach()
    reference = generator().train()
    sr = reference(lr)
    squares = (sr - torch.stack([0.75 * hr[0] + 0.25 * taught[0], hr[1]])).square()
    inside = torch.zeros_like(squares[1])
    inside[:, 32:-32, 32:-32] = 1  # of the flat crop
    torch.stack([squares[0], squares[1] * inside]).mean().backward()

    step([Batch(lr, hr)])

    torch.testing.assert_close(seen[Generator], gradients(reference), rtol=1e-3, atol=1e-6)


def test_a_teacher_of_a_larger_scale_is_reduced(accelerator: Accelerator) -> None:
    small = Generator(Architecture(blocks=1, channels=8, scale=2))
    step = PixelStep(
        small, SRResNetOptions(scale=2, teacher="srgan-x4", teacher_weight=1), ADAM, accelerator
    )
    lr = torch.rand(1, 3, 24, 24)
    sr = Generator.from_checkpoint(load_checkpoint("srgan-x4"))(lr).detach()[0].permute(1, 2, 0)
    own = small.train()(lr).detach().numpy()
    expected = bicubic(sr.numpy(), 48, 48).transpose(2, 0, 1)[None]

    loss = step([Batch(lr, torch.rand(1, 3, 48, 48))])["loss/pixel"]

    assert loss.item() == pytest.approx(np.square(own - expected).mean(), rel=1e-4)


@pytest.mark.parametrize("scale", [3, 8])
def test_a_teacher_of_another_scale_is_refused(accelerator: Accelerator, scale: int) -> None:
    small = Generator(Architecture(blocks=1, channels=8, scale=scale))
    method = SRResNetOptions(scale=scale, teacher="srgan-x4")
    with pytest.raises(OptionError, match=f"srgan-x4 has the scale 4, no multiple of .*, {scale}"):
        PixelStep(small, method, ADAM, accelerator)


def test_pixel_step_follows_the_gradient_of_the_loss(
    accelerator: Accelerator, batches: list[Batch], seen: dict[type, Tensor]
) -> None:
    step = pixel_step(accelerator)
    before = flat(step.generator)
    reference = generator().train()
    loss = (reference(batches[0].lr) - batches[0].hr).square().mean()
    loss.backward()

    values = step(batches[:1])

    assert values["loss/pixel"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert values["finite"].item() == 1
    torch.testing.assert_close(seen[Generator], gradients(reference), rtol=1e-3, atol=1e-6)
    assert (flat(step.generator) - before).abs().max() > 1e-4


@pytest.mark.parametrize("kind", get_args(PixelLoss))
def test_pixel_losses_by_option(
    accelerator: Accelerator, batches: list[Batch], kind: PixelLoss
) -> None:
    step = pixel_step(accelerator, method=SRResNetOptions(pixel_loss=kind))
    expected = pixel_loss(generator().train()(batches[0].lr), batches[0].hr, kind)
    assert step(batches[:1])["loss/pixel"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_every_term_reaches_the_generator_and_only_the_generator(
    accelerator: Accelerator, batches: list[Batch], vgg: Path, seen: dict[type, Tensor]
) -> None:
    """The generator's gradient is that of the weighted sum, by plain autograd."""
    step = adversarial_step(
        accelerator,
        vgg,
        content_weight=0.5,
        adversarial_weight=0.1,
        pixel_weight=2.0,
        consistency_weight=3.0,
        grid_weight=4.0,
        spectrum_weight=0.3,
    )
    discriminator = copy.deepcopy(step.discriminator)
    extractor = placed(FeatureExtractor(vgg, [(2, 1)]), accelerator)
    reference = generator().train()
    lr, hr = batches[0]
    sr = reference(lr)
    content = (extractor(sr)[0] - extractor(hr)[0]).square().mean()
    adversarial = functional.softplus(-discriminator(sr)).mean()
    pixel = (sr - hr).square().mean()
    consistency = consistency_loss(sr, hr, 4)
    grid, spectrum = grid_loss(sr, hr, 4), spectrum_loss(sr, hr)
    loss = 0.5 * content + 0.1 * adversarial + 2 * pixel + 3 * consistency + 4 * grid
    (loss + 0.3 * spectrum).backward()

    values = step(batches[:1])

    torch.testing.assert_close(seen[Generator], gradients(reference), rtol=1e-3, atol=1e-6)
    terms = {"content": content, "adversarial": adversarial, "pixel": pixel}
    terms |= {"consistency": consistency, "grid": grid, "spectrum": spectrum}
    for name, loss in terms.items():
        assert values[f"loss/{name}"].item() == pytest.approx(loss.item(), rel=1e-4)
        assert values[f"gradient/{name}"].item() > 0


def test_every_term_reaches_the_generator_through_shared_features(
    accelerator: Accelerator, batches: list[Batch], vgg: Path, seen: dict[type, Tensor]
) -> None:
    """Two layers, of which one is computed from the other, for both content and adversary."""
    step = adversarial_step(
        accelerator,
        vgg,
        content_loss="unit",
        content_weight=0.5,
        adversarial_loss="relativistic",
        adversarial_weight=0.1,
        consistency_weight=3.0,
        grid_weight=4.0,
        spectrum_weight=0.3,
        discriminator="features",
        layer=((1, 2), (2, 1)),
    )
    discriminator = copy.deepcopy(step.discriminator)
    extractor = FeatureExtractor(vgg, [(1, 2), (2, 1)])
    reference = generator().train()
    lr, hr = batches[0]
    sr = reference(lr)
    content = content_loss(extractor(sr), extractor(hr), "unit")
    heads = list(zip(discriminator(extractor(sr)), discriminator(extractor(hr)), strict=True))
    assert [of_sr.shape for of_sr, _ in heads] == [(2, 1, 24, 24), (2, 1, 12, 12)]
    by_head = [functional.softplus(of_hr - of_sr).mean() for of_sr, of_hr in heads]
    adversarial = torch.stack(by_head).mean()
    loss = 0.5 * content + 0.1 * adversarial + 3 * consistency_loss(sr, hr, 4)
    (loss + 4 * grid_loss(sr, hr, 4) + 0.3 * spectrum_loss(sr, hr)).backward()

    values = step(batches[:1])

    torch.testing.assert_close(seen[Generator], gradients(reference), rtol=1e-3, atol=1e-6)
    assert values["loss/content"].item() == pytest.approx(content.item(), rel=1e-4)
    assert values["loss/adversarial"].item() == pytest.approx(adversarial.item(), rel=1e-4)
    assert values["loss/discriminator"].item() > 0
    assert values["d_hr"] + values["d_sr"] == pytest.approx(1)  # which of both is HR


@pytest.mark.parametrize("discriminator", ["features", "picture"])
def test_the_generators_update_leaves_no_gradient_in_discriminator_and_vgg(
    accelerator: Accelerator,
    batches: list[Batch],
    vgg: Path,
    monkeypatch: pytest.MonkeyPatch,
    discriminator: str,
) -> None:
    step = adversarial_step(accelerator, vgg, discriminator=discriminator)
    found = []

    def look(self: NetworkInTraining) -> Tensor:
        found.append([p.grad is not None for p in step.discriminator.parameters()])
        return torch.ones(())

    monkeypatch.setattr(NetworkInTraining, "update", look)
    step(batches[:1])
    generators, discriminators = found
    assert not any(generators)
    assert all(discriminators)
    assert all(p.grad is None for p in step.extractor.parameters())


def test_the_discriminator_learns_hr_from_sr_and_never_moves_the_generator(
    accelerator: Accelerator, batches: list[Batch], vgg: Path, seen: dict[type, Tensor]
) -> None:
    step = adversarial_step(accelerator, vgg)
    reference = copy.deepcopy(step.discriminator)
    lr, hr = batches[0]
    with torch.no_grad():
        sr = generator().train()(lr)
        reference(sr)  # as in the generator's update
    loss = functional.softplus(-reference(hr)).mean() + functional.softplus(reference(sr)).mean()
    loss.backward()
    values = step(batches[:1])
    assert values["loss/discriminator"].item() == pytest.approx(loss.item(), rel=1e-4)
    torch.testing.assert_close(seen[Discriminator], gradients(reference), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("discriminator", ["features", "picture"])
def test_the_discriminator_wins_against_a_generator_that_stands_still(
    accelerator: Accelerator, batches: list[Batch], vgg: Path, discriminator: str
) -> None:
    step = adversarial_step(accelerator, vgg, discriminator=discriminator, discriminator_rate=1e-3)
    step.scale_rates(0)
    still = flat(step.generator)
    first = step(batches[:1])
    step.scale_rates(1)
    for group in step.trained.optimizer.param_groups:
        group["lr"] = 0.0
    last = [step(batches[:1]) for _ in range(8)][-1]
    assert last["d_hr"] - last["d_sr"] > first["d_hr"] - first["d_sr"] + 0.2
    assert torch.equal(flat(step.generator), still)


@pytest.mark.parametrize("adversarial", [False, True])
def test_micro_batches_give_the_mean_gradient(
    accelerator: Accelerator,
    batches: list[Batch],
    vgg: Path,
    seen: dict[type, Tensor],
    adversarial: bool,
) -> None:
    def run(parts: list[Batch]) -> tuple[dict[str, float], dict[type, Tensor]]:
        step = adversarial_step(accelerator, vgg) if adversarial else pixel_step(accelerator)
        values = {name: value.item() for name, value in step(parts).items()}
        return values, dict(seen)

    (first, first_seen), (second, second_seen) = run(batches[:1]), run(batches[1:])
    both, both_seen = run(batches)
    for network in both_seen:
        mean = (first_seen[network] + second_seen[network]) / 2
        # D meets other BN statistics only in its running means, which training does not read.
        torch.testing.assert_close(both_seen[network], mean, rtol=1e-3, atol=1e-6)
    for name, value in both.items():
        assert value == pytest.approx((first[name] + second[name]) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("weight", "discriminator", "needed"),
    [(0, "picture", False), (0, "features", True), (1, "picture", True)],
)
def test_vgg_computes_where_a_loss_needs_it(
    accelerator: Accelerator,
    batches: list[Batch],
    vgg: Path,
    weight: float,
    discriminator: str,
    needed: bool,
) -> None:
    step = adversarial_step(accelerator, vgg, content_weight=weight, discriminator=discriminator)
    calls = []
    step.extractor.register_forward_pre_hook(lambda *_: calls.append(1))
    assert step(batches[:1])["finite"].item() == 1
    assert bool(calls) == needed


def test_jitter_shows_every_part_of_an_lr_pixel_to_vgg_and_the_discriminator(
    accelerator: Accelerator, batches: list[Batch], vgg: Path
) -> None:
    """SR and HR in the same place, all 16 of them in turn."""
    step = adversarial_step(accelerator, vgg, jitter=True)
    windows = batches[0].hr.unfold(2, 44, 1).unfold(3, 44, 1)  # N, C, top, left, 44, 44
    shown: dict[type, list[tuple[int, int]]] = {}

    def look(network: nn.Module, inputs: tuple[Tensor]) -> None:
        same = (windows == inputs[0][:, :, None, None]).all(dim=(0, 1, 4, 5))
        shown.setdefault(type(network), []).extend((int(i), int(j)) for i, j in same.nonzero())
        assert inputs[0].shape[-2:] == (44, 44)

    step.extractor.register_forward_pre_hook(look)
    step.discriminator.register_forward_pre_hook(look)
    for _ in range(16):
        step(batches[:1])
    assert sorted(shown[FeatureExtractor]) == [(i, j) for i in range(4) for j in range(4)]
    assert shown[Discriminator] == shown[FeatureExtractor]


@pytest.mark.parametrize("adversarial", [False, True])
def test_an_update_that_is_not_finite_is_skipped(
    accelerator: Accelerator, batches: list[Batch], vgg: Path, adversarial: bool
) -> None:
    step = adversarial_step(accelerator, vgg) if adversarial else pixel_step(accelerator)
    networks: list[nn.Module] = [step.generator]
    if isinstance(step, AdversarialStep):
        networks.append(step.discriminator)
    before = [flat(network) for network in networks]
    poisoned = Batch(batches[0].lr, batches[0].hr * float("nan"))
    assert step([poisoned])["finite"].item() == 0
    assert all(map(torch.equal, map(flat, networks), before))
    assert step(batches[:1])["finite"].item() == 1
    for network, old in zip(networks, before, strict=True):
        assert not torch.equal(flat(network), old)
        assert flat(network).isfinite().all()


def test_frozen_bn_computes_as_inference_does_and_keeps_its_statistics(
    accelerator: Accelerator, batches: list[Batch]
) -> None:
    frozen = OptimizerOptions(optimizer="adam", rate=1e-3, freeze_bn=True)
    step = pixel_step(accelerator, frozen)
    reference = generator().eval()
    expected = pixel_loss(reference(batches[0].lr), batches[0].hr)
    assert step(batches[:1])["loss/pixel"].item() == pytest.approx(expected.item(), rel=1e-5)
    before, after = reference.state_dict(), step.generator.state_dict()
    statistics = [name for name in before if "running" in name]
    assert statistics and all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["blocks.0.bn1.weight"], after["blocks.0.bn1.weight"])


def test_gradients_are_clipped(accelerator: Accelerator, batches: list[Batch]) -> None:
    clipped = OptimizerOptions(optimizer="adam", clip=1e-3)
    step = pixel_step(accelerator, clipped)
    norms = []
    step.trained.optimizer.register_step_pre_hook(
        lambda *_: norms.append(gradients(step.generator).norm().item())
    )
    step(batches[:1])
    assert norms == [pytest.approx(1e-3, rel=1e-2)]


def test_warnings_of_a_discriminator_that_has_won_or_knows_nothing(
    accelerator: Accelerator, vgg: Path
) -> None:
    step = adversarial_step(accelerator, vgg)
    assert "has won" in str(step.warning({"d_hr": 0.999, "d_sr": 0.001}))
    assert "cannot tell HR from SR" in str(step.warning({"d_hr": 0.5, "d_sr": 0.5}))
    assert step.warning({"d_hr": 0.8, "d_sr": 0.2}) is None


@pytest.mark.parametrize("adversarial", [False, True])
@pytest.mark.parametrize("kind", ["adam", "muon", "natural"])
def test_a_step_goes_on_exactly_from_its_saved_state(
    accelerator: Accelerator,
    batches: list[Batch],
    vgg: Path,
    tmp_path: Path,
    adversarial: bool,
    kind: Any,
) -> None:
    options = OptimizerOptions(optimizer=kind)

    def make() -> PixelStep | AdversarialStep:
        if adversarial:
            return adversarial_step(accelerator, vgg, options, jitter=True)
        return pixel_step(accelerator, options)

    step, resumed = make(), make()
    step(batches)
    torch.save(step.state_dict(), tmp_path / "state.pt")
    step(batches)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    resumed(batches)
    assert torch.equal(flat(step.generator), flat(resumed.generator))
    if isinstance(step, AdversarialStep) and isinstance(resumed, AdversarialStep):
        assert torch.equal(flat(step.discriminator), flat(resumed.discriminator))
