"""InceptionV1 in plain PyTorch, written from its published descriptions.

`activations` is a function of a state dict in the naming of the public checkpoints, for images of any size.

References:
  inception5h: Lucid's TensorFlow graph; its port in Lucent and TorchLight.
  bvlc_googlenet: Caffe's `models/bvlc_googlenet/train_val.prototxt`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

RECORDS = ("inception5h", "inception5h_torchlight", "bvlc_googlenet")

# Outputs of a block's convolutions: 1x1, 3x3 bottleneck, 3x3, 5x5 bottleneck, 5x5, pool reduce.
BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
INCEPTION5H_BLOCKS = BLOCKS | {"4a": (192, 96, 204, 16, 48, 64), "5a": (256, 160, 320, 48, 128, 128)}

CAFFE_STEM = {"conv2d0": "conv1_7x7_s2", "conv2d1": "conv2_3x3_reduce", "conv2d2": "conv2_3x3"}
CAFFE_BRANCHES = {
    "1x1": "1x1",
    "3x3_bottleneck": "3x3_reduce",
    "3x3": "3x3",
    "5x5_bottleneck": "5x5_reduce",
    "5x5": "5x5",
    "pool_reduce": "pool_proj",
}


class RedirectedReLU(torch.autograd.Function):
    """TorchLight's: a ReLU that passes a tenth of the gradient where its input is negative."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where(x < 0, 0.1 * gradient, gradient)


def public_key(record: str, convolution: str) -> str:
    """The name of a convolution, such as "mixed3a_5x5_bottleneck", in a public checkpoint."""
    if record != "bvlc_googlenet":
        return f"{convolution}_pre_relu_conv"
    if convolution in CAFFE_STEM:
        return CAFFE_STEM[convolution]
    block, branch = convolution.removeprefix("mixed").split("_", 1)
    return f"inception_{block}_{CAFFE_BRANCHES[branch]}"


def classifier_key(record: str) -> str:
    """The name of the last matrix in a public checkpoint."""
    return "loss3_classifier" if record == "bvlc_googlenet" else "softmax2_pre_activation_matmul"


def random_state_dict(record: str, seed: int) -> dict[str, Tensor]:
    """Random weights in the public naming and shapes.

    Kernels are He-normal. Biases are small beside the activations, which stay between tens and hundreds from the
    first layer to the last, where the local response norm is far from linear; logits are of order one.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def draw(key: str, shape: tuple[int, ...], gain: float, bias: float) -> None:
        deviation = gain / math.sqrt(math.prod(shape[1:]))
        state[f"{key}.weight"] = deviation * torch.randn(shape, generator=generator)
        state[f"{key}.bias"] = bias * torch.randn(shape[:1], generator=generator)

    def convolution(name: str, inputs: int, outputs: int, size: int) -> None:
        draw(public_key(record, name), (outputs, inputs, size, size), math.sqrt(2), 5.0)

    convolution("conv2d0", 3, 64, 7)
    convolution("conv2d1", 64, 64, 1)
    convolution("conv2d2", 64, 192, 3)
    inputs = 192
    for block, widths in (BLOCKS if record == "bvlc_googlenet" else INCEPTION5H_BLOCKS).items():
        c1x1, b3x3, c3x3, b5x5, c5x5, reduce = widths
        convolution(f"mixed{block}_1x1", inputs, c1x1, 1)
        convolution(f"mixed{block}_3x3_bottleneck", inputs, b3x3, 1)
        convolution(f"mixed{block}_3x3", b3x3, c3x3, 3)
        convolution(f"mixed{block}_5x5_bottleneck", inputs, b5x5, 1)
        convolution(f"mixed{block}_5x5", b5x5, c5x5, 5)
        convolution(f"mixed{block}_pool_reduce", inputs, reduce, 1)
        inputs = c1x1 + c3x3 + c5x5 + reduce
    classes = 1000 if record == "bvlc_googlenet" else 1008
    draw(classifier_key(record), (classes, inputs), 0.01, 0.1)
    return state


def tensorflow_same(x: Tensor, size: int, stride: int, value: float) -> Tensor:
    """Pad height and width so that a window yields ceil(n / stride) outputs, the odd one at the end."""
    edges = []
    for n in (x.shape[3], x.shape[2]):
        left_over = n % stride
        total = max(size - (left_over if left_over else stride), 0)
        edges += [total // 2, math.ceil(total / 2)]
    return F.pad(x, edges, value=value)


def activations(
    record: str, state: dict[str, Tensor], images: Tensor, relu: Callable[[Tensor], Tensor] = torch.relu
) -> dict[str, Tensor]:
    """Every named activation of `images` [N, 3, H, W] in [0, 1], RGB: [N, c, h, w], in the head [N, c]."""
    assert record in RECORDS
    out = {"input": images}

    def convolve(name: str, x: Tensor, padding: int = 0, stride: int = 1) -> Tensor:
        key = public_key(record, name)
        before = F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], stride=stride, padding=padding)
        out[f"{name}_pre_relu_conv"] = before
        out[name] = relu(before)
        return out[name]

    def halve(name: str, x: Tensor) -> Tensor:
        if record == "inception5h":
            out[name] = F.max_pool2d(tensorflow_same(x, 3, 2, -math.inf), 3, 2)
        elif record == "inception5h_torchlight":
            out[name] = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-math.inf), 3, 2)
        else:  # Caffe rounds the number of windows up
            out[name] = F.max_pool2d(x, 3, 2, ceil_mode=True)
        return out[name]

    def normalize(name: str, x: Tensor) -> Tensor:
        # PyTorch and Caffe divide alpha by the number of channels in the window, TensorFlow does not.
        size, alpha, beta, k = {
            "inception5h": (11, 11 * 1e-4, 0.5, 2.0),
            "inception5h_torchlight": (9, 1e-4, 0.5, 1.0),
            "bvlc_googlenet": (5, 1e-4, 0.75, 1.0),
        }[record]
        out[name] = F.local_response_norm(x, size, alpha, beta, k)
        return out[name]

    def inception(name: str, x: Tensor) -> Tensor:
        out[f"{name}_pool"] = F.max_pool2d(x, 3, 1, 1)
        convolve(f"{name}_1x1", x)
        convolve(f"{name}_3x3", convolve(f"{name}_3x3_bottleneck", x), 1)
        convolve(f"{name}_5x5", convolve(f"{name}_5x5_bottleneck", x), 2)
        convolve(f"{name}_pool_reduce", out[f"{name}_pool"])
        towers = [f"{name}_{tower}" for tower in ("1x1", "3x3", "5x5", "pool_reduce")]
        out[f"{name}_pre_relu"] = torch.cat([out[f"{tower}_pre_relu_conv"] for tower in towers], 1)
        out[name] = torch.cat([out[tower] for tower in towers], 1)
        return out[name]

    if record == "bvlc_googlenet":
        x = 255 * images.flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
        x = convolve("conv2d0", x, 3, 2)
    elif record == "inception5h_torchlight":
        x = convolve("conv2d0", F.pad(255 * images - 117, (2, 3, 2, 3)), 0, 2)
    else:
        x = convolve("conv2d0", tensorflow_same(255 * images - 117, 7, 2, 0.0), 0, 2)
    x = normalize("localresponsenorm0", halve("maxpool0", x))
    x = convolve("conv2d2", convolve("conv2d1", x), 1)
    x = halve("maxpool1", normalize("localresponsenorm1", x))
    x = inception("mixed3b", inception("mixed3a", x))
    x = halve("maxpool4", x)
    for block in "abcde":
        x = inception(f"mixed4{block}", x)
    x = halve("maxpool10", x)
    x = inception("mixed5b", inception("mixed5a", x))
    out["avgpool0"] = x.mean((2, 3))
    key = classifier_key(record)
    if f"{key}.weight" in state:
        logits = F.linear(out["avgpool0"], state[f"{key}.weight"], state[f"{key}.bias"])
        out["softmax2_pre_activation_matmul"] = logits
        out["softmax2"] = logits.softmax(1)
    return out
