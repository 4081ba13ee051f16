"""A small network with random weights of each of spandrel's architectures for super-resolution."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from spandrel.architectures import (
    ATD,
    CRAFT,
    DAT,
    DCTLSA,
    DITN,
    DRCT,
    ESRGAN,
    FDAT,
    GRL,
    HAT,
    IPT,
    PLKSR,
    RCAN,
    RGT,
    SAFMN,
    SPAN,
    AuraSR,
    Compact,
    MMRealSR,
    MoESR,
    MoSR,
    OmniSR,
    RealCUGAN,
    SeemoRe,
    SwiftSRGAN,
    Swin2SR,
    SwinIR,
)
from torch import nn

HEADS: Any = {"depths": (2,), "num_heads": (2,)}

SMALL: dict[str, Callable[[], nn.Module]] = {
    "ATD": lambda: ATD.ATD(
        embed_dim=16,
        window_size=8,
        category_size=64,
        num_tokens=8,
        reducted_dim=4,
        upscale=2,
        upsampler="pixelshuffledirect",
        **HEADS,
    ),
    "AuraSR": lambda: AuraSR.AuraSR(
        dim=8,
        image_size=256,
        input_image_size=64,
        style_network={"dim_in": 8, "dim_out": 32, "depth": 1, "dim_text_latent": 0},
    ),
    "CRAFT": lambda: CRAFT.CRAFT(embed_dim=32, depths=[2], num_heads=[2], upscale=2),
    "Compact": lambda: Compact.Compact(num_feat=8, num_conv=3, upscale=4),
    "DAT": lambda: DAT.DAT(embed_dim=32, depth=[2], num_heads=[2], expansion_factor=2, upscale=2),
    "DCTLSA": lambda: DCTLSA.DCTLSA(nf=20, num_modules=6, upscale=3, num_head=5),
    "DITN": lambda: DITN.DITN(dim=12, ITL_blocks=1, SAL_blocks=1, UFONE_blocks=1, upscale=2),
    "DRCT": lambda: DRCT.DRCT(
        embed_dim=16, window_size=8, upscale=2, upsampler="pixelshuffle", gc=8, **HEADS
    ),
    "ESRGAN": lambda: ESRGAN.ESRGAN(num_filters=8, num_blocks=2, scale=4),
    "ESRGAN x2": lambda: ESRGAN.ESRGAN(
        in_nc=3, num_filters=8, num_blocks=1, scale=2, plus=True, shuffle_factor=2
    ),
    "FDAT": lambda: FDAT.FDAT(
        embed_dim=16, num_groups=1, depth_per_group=2, num_heads=2, mid_dim=16, scale=2
    ),
    "GRL": lambda: GRL.GRL(
        embed_dim=16,
        upscale=2,
        upsampler="pixelshuffledirect",
        depths=[2],
        num_heads_window=[2],
        num_heads_stripe=[2],
    ),
    "HAT": lambda: HAT.HAT(
        embed_dim=16, window_size=8, upscale=2, num_feat=16, squeeze_factor=4, **HEADS
    ),
    "IPT": lambda: IPT.IPT(n_feats=8, patch_size=24, num_heads=4, num_layers=1, scale=[2]),
    "MMRealSR": lambda: MMRealSR.MMRealSR(
        num_in_ch=3,
        num_out_ch=3,
        num_feat=8,
        num_block=1,
        num_grow_ch=8,
        num_feats=[8, 8, 8, 8],
        num_blocks=[1, 1, 1, 1],
    ),
    "MoESR": lambda: MoESR.MoESR(dim=16, n_blocks=2, n_block=1, scale=2),
    "MoSR": lambda: MoSR.MoSR(n_block=2, dim=16, upscale=2),
    "OmniSR": lambda: OmniSR.OmniSR(num_feat=16, block_num=1, res_num=1, up_scale=2),
    "PLKSR": lambda: PLKSR.PLKSR(dim=16, n_blocks=2, upscaling_factor=2),
    "RealPLKSR": lambda: PLKSR.RealPLKSR(dim=16, n_blocks=2, upscaling_factor=4, dysample=True),
    "RCAN": lambda: RCAN.RCAN(scale=2, n_resgroups=1, n_resblocks=2, n_feats=16, reduction=4),
    "RGT": lambda: RGT.RGT(embed_dim=32, depth=[2], num_heads=[2], upscale=2),
    "RealCUGAN": lambda: RealCUGAN.UpCunet2x(),
    "SAFMN": lambda: SAFMN.SAFMN(dim=16, n_blocks=2, upscaling_factor=4),
    "SPAN": lambda: SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=12, upscale=2),
    "SeemoRe": lambda: SeemoRe.SeemoRe(num_layers=1, embedding_dim=16, num_experts=2, scale=2),
    "SwiftSRGAN": lambda: SwiftSRGAN.SwiftSRGAN(num_channels=8, num_blocks=2, upscale_factor=2),
    "Swin2SR": lambda: Swin2SR.Swin2SR(
        embed_dim=16, window_size=8, upscale=2, upsampler="pixelshuffledirect", **HEADS
    ),
    "SwinIR": lambda: SwinIR.SwinIR(
        embed_dim=16, window_size=8, upscale=4, upsampler="nearest+conv", **HEADS
    ),
}


def small_state(name: str) -> dict[str, torch.Tensor]:
    """The state dict of a small network, as its training would save it."""
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        return {key: tensor.clone() for key, tensor in SMALL[name]().state_dict().items()}
