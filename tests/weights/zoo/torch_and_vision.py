"""Small networks of torch itself, torchvision and timm, with random numbers for parameters."""

from functools import partial

import torch
from torch import nn

from .architecture import Architecture

IMAGES = {"x": (3, 32, 32)}


# ---- torch's own


class LSTMClassifier(nn.Module):
    """An embedding, an LSTM, and a head that is applied to all tokens of all samples in one long list."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 8, num_layers=2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        output, _ = self.lstm(self.embedding(x))
        return self.head(output.flatten(0, 1)).unflatten(0, x.shape)


class UNet(nn.Module):
    """A denoiser of diffusion models: down, attention, up, a skip connection, and each block shifted by the time step."""

    def __init__(self, d: int = 8) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(d, d), nn.SiLU())
        self.first = nn.Conv2d(3, d, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.GroupNorm(2, width),
                    "conv": nn.Conv2d(width, d, 3, padding=1),
                    "shift": nn.Linear(d, d),
                }
            )
            for width in (d, d, 2 * d)
        )
        self.down = nn.Conv2d(d, d, 3, stride=2, padding=1)
        self.attention = nn.MultiheadAttention(d, 2, batch_first=True)
        self.up = nn.ConvTranspose2d(d, d, 4, stride=2, padding=1)
        self.last = nn.Conv2d(d, 3, 1)

    def block(self, k, x, time):
        parts = self.blocks[k]
        return parts["conv"](nn.functional.silu(parts["norm"](x))) + parts["shift"](time)[:, :, None, None]

    def forward(self, x, step):
        frequencies = torch.arange(4, dtype=x.dtype) / 4
        angles = step[:, None] * frequencies
        time = self.time(torch.cat((angles.sin(), angles.cos()), 1))
        fine = self.block(0, self.first(x), time)
        coarse = self.block(1, self.down(fine), time)
        tokens = coarse.flatten(2).mT
        coarse = coarse + self.attention(tokens, tokens, tokens)[0].mT.unflatten(2, coarse.shape[2:])
        return self.last(self.block(2, torch.cat((fine, self.up(coarse)), 1), time))


def transformer():
    return nn.Transformer(8, 2, 1, 1, 16, dropout=0.0)  # time first, then samples


# ---- torchvision


def resnet(vision):
    return vision.resnet.ResNet(vision.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)


def resnext(vision):
    return vision.resnet.ResNet(vision.resnet.Bottleneck, [1, 1, 1, 1], num_classes=5, groups=2, width_per_group=2)


def convnext(vision):
    stages = [vision.convnext.CNBlockConfig(8, 16, 1), vision.convnext.CNBlockConfig(16, None, 1)]
    return vision.ConvNeXt(stages, layer_scale=0.5, num_classes=5)


def mobilenet_v2(vision):
    # expansion, channels, layers, stride
    blocks = [[1, 8, 1, 1], [3, 8, 2, 2]]
    return vision.MobileNetV2(num_classes=5, width_mult=0.25, inverted_residual_setting=blocks, dropout=0.0)


def mobilenet_v3(vision):
    stage = partial(vision.mobilenetv3.InvertedResidualConfig, dilation=1, width_mult=1.0)
    stages = [stage(8, 3, 16, 8, True, "RE", 2), stage(8, 5, 24, 8, True, "HS", 1)]
    return vision.MobileNetV3(stages, 16, num_classes=5, dropout=0.0)


def efficientnet(vision):
    stages = [
        vision.efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1),
        vision.efficientnet.MBConvConfig(3, 5, 2, 8, 8, 2),
        vision.efficientnet.FusedMBConvConfig(2, 3, 1, 8, 8, 1),
    ]
    return vision.EfficientNet(stages, dropout=0.0, stochastic_depth_prob=0.0, num_classes=5, last_channel=16)


def swin(vision, version=1):
    parts = (
        {}
        if version == 1
        else {
            "block": vision.swin_transformer.SwinTransformerBlockV2,
            "downsample_layer": vision.swin_transformer.PatchMergingV2,
        }
    )
    sizes = {"patch_size": [4, 4], "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 2], "window_size": [4, 4]}
    return vision.SwinTransformer(**sizes, stochastic_depth_prob=0.0, num_classes=5, **parts)


def vit(vision):
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24}
    return vision.VisionTransformer(**sizes, num_classes=5)


def densenet(vision, **own):
    return vision.DenseNet(4, (2, 2), num_init_features=8, bn_size=2, num_classes=5, **own)


def regnet(vision):
    params = vision.regnet.BlockParams.from_init_params(3, 8, 8.0, 2.0, 8, se_ratio=0.25)
    return vision.RegNet(params, num_classes=5, stem_width=8)


def shufflenet(vision):
    return vision.ShuffleNetV2([2, 1, 1], [8, 8, 16, 16, 16], num_classes=5)


# ---- timm


def resnet_v2(timm):
    norm = partial(timm.layers.GroupNormAct, num_groups=4)
    sizes = {"layers": [1, 1], "channels": (16, 32), "stem_chs": 8, "num_classes": 5}
    return timm.models.resnetv2.ResNetV2(**sizes, norm_layer=norm, conv_layer=timm.layers.StdConv2d)


def nfnet(timm):
    sizes = {"depths": (1, 1, 1, 1), "channels": (16, 16, 16, 16), "stem_chs": 8, "bottle_ratio": 0.5, "group_size": 8}
    squeeze = {"attn_layer": "se", "attn_kwargs": {"rd_ratio": 0.5}}
    return timm.models.nfnet.NormFreeNet(timm.models.nfnet.NfCfg(**sizes, **squeeze), num_classes=5)


def mixer(timm):
    sizes = {"img_size": 32, "patch_size": 8, "num_blocks": 2, "embed_dim": 16}
    return timm.models.mlp_mixer.MlpMixer(**sizes, num_classes=5)


TIMM_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0}


def beit(timm):
    parts = {"init_values": 0.5, "use_rel_pos_bias": True, "head_init_scale": 1.0}
    return timm.models.beit.Beit(**TIMM_VIT, **parts, num_classes=5)


def dino(timm):
    """As DINOv2: scales of layers, register tokens."""
    return timm.models.vision_transformer.VisionTransformer(
        **TIMM_VIT, init_values=0.5, reg_tokens=2, no_embed_class=True, num_classes=5
    )


def eva(timm):
    """Rotary positions in two dimensions, SwiGLU."""
    parts = {"use_rot_pos_emb": True, "swiglu_mlp": True, "use_abs_pos_emb": False, "qkv_fused": False}
    return timm.models.eva.Eva(**TIMM_VIT, **parts, num_classes=5)


def poolformer(timm):
    sizes = {"depths": (1, 1), "dims": (8, 16), "num_classes": 5}
    return timm.models.metaformer.MetaFormer(**sizes, token_mixers=timm.models.metaformer.Pooling)


def convmixer(timm):
    return timm.models.convmixer.ConvMixer(8, 2, kernel_size=3, patch_size=4, num_classes=5)


ARCHITECTURES = [
    Architecture(
        "LSTM classifier, tokens flattened", "torch", LSTMClassifier, {"x": [7]}, vocabulary=11, autocasts=False
    ),
    Architecture("Transformer", "torch", transformer, {"src": (4, 8), "tgt": (3, 8)}, dim=1),
    Architecture("U-Net of a diffusion model", "torch", UNet, {"x": (3, 8, 8), "step": ()}),
    Architecture("ResNet", "torchvision", resnet, IMAGES, part=("conv1*", "bn1*", "layer1*", "fc*")),
    Architecture("ResNeXt", "torchvision", resnext, IMAGES, part=("conv1*", "layer1*", "layer2.0.bn*")),
    Architecture("ConvNeXt", "torchvision", convnext, IMAGES),
    Architecture(
        "MobileNetV2", "torchvision", mobilenet_v2, IMAGES, part=("features.0*", "features.1*", "features.2*")
    ),
    Architecture("MobileNetV3", "torchvision", mobilenet_v3, IMAGES),
    Architecture("EfficientNet", "torchvision", efficientnet, IMAGES),
    Architecture("Swin", "torchvision", swin, IMAGES),
    Architecture("Swin V2", "torchvision", partial(swin, version=2), IMAGES),
    Architecture("ViT", "torchvision", vit, IMAGES),
    Architecture("DenseNet", "torchvision", densenet, IMAGES, checkpointed=partial(densenet, memory_efficient=True)),
    Architecture("RegNet", "torchvision", regnet, IMAGES),
    Architecture("ShuffleNetV2", "torchvision", shufflenet, IMAGES),
    Architecture("ResNetV2, kernels standardised", "timm", resnet_v2, IMAGES),
    Architecture("NFNet", "timm", nfnet, IMAGES),
    Architecture("MLP-Mixer", "timm", mixer, IMAGES),
    Architecture("BEiT", "timm", beit, IMAGES),
    Architecture("DINOv2", "timm", dino, IMAGES),
    Architecture("EVA-02", "timm", eva, IMAGES),
    Architecture("PoolFormer", "timm", poolformer, IMAGES),
    Architecture("ConvMixer", "timm", convmixer, IMAGES),
]
