"""What a user would otherwise run, in PyTorch: Lucent's loop, and the same work with the network cut by hand.

Both optimize a Fourier image of the Caffe GoogLeNet for one channel, with Lucent's default transforms, its redirected
ReLU and Adam at 0.05. The loop of Lucent hooks every module and runs the whole network at each step, and each
transform resamples by itself; the loop cut by hand stops at the layer it wants, and resamples once.
"""

import copy
import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = {
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
"""Outputs of the convolutions of each block: 1x1, before 3x3, 3x3, before 5x5, 5x5, after the pool."""
BLOCKS = tuple(WIDTHS)
MEAN_BGR = (104.0, 117.0, 123.0)
COLOR = torch.tensor(
    [[0.56282854, 0.19482528, 0.04329450], [0.58447580, 0.0, -0.10823626], [0.58447580, -0.19482528, 0.06494176]]
)


class RedirectedReLU(torch.autograd.Function):
    """A rectifier whose gradient passes by a tenth where its input is negative."""

    @staticmethod
    def forward(ctx, x):
        """Rectify."""
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, *gradients):
        """Pass all of the gradient or a tenth of it."""
        (x,) = ctx.saved_tensors
        return torch.where(x < 0, 0.1 * gradients[0], gradients[0])


class Rectifier(nn.Module):
    """`RedirectedReLU` as a module, so that it can be hooked."""

    def forward(self, x: Tensor) -> Tensor:
        """Rectify."""
        return RedirectedReLU.apply(x)  # type: ignore[return-value]


def _convolution(state: dict[str, Tensor], key: str, stride: int = 1, padding: int = 0) -> nn.Sequential:
    weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride, padding)
    conv.weight.data, conv.bias.data = weight, bias  # type: ignore[union-attr]
    return nn.Sequential(conv, Rectifier())


class Block(nn.Module):
    """One inception block."""

    def __init__(self, state: dict[str, Tensor], name: str):
        """Take the tensors of one block from a state dict."""
        super().__init__()
        key = f"inception_{name}"
        self.one = _convolution(state, f"{key}_1x1")
        self.three = nn.Sequential(
            _convolution(state, f"{key}_3x3_reduce"), _convolution(state, f"{key}_3x3", padding=1)
        )
        self.five = nn.Sequential(
            _convolution(state, f"{key}_5x5_reduce"), _convolution(state, f"{key}_5x5", padding=2)
        )
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(state, f"{key}_pool_proj"))

    def forward(self, x: Tensor) -> Tensor:
        """The concatenation of four branches."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class GoogLeNet(nn.Module):
    """The Caffe GoogLeNet as a list of named modules, of which a forward pass runs all, or those up to one."""

    def __init__(self, state: dict[str, Tensor]):
        """Take all tensors from a state dict in the naming of the public file."""
        super().__init__()
        norm = nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
        halve = [nn.MaxPool2d(3, 2, ceil_mode=True) for _ in range(4)]
        self.stages = nn.ModuleDict(
            {
                "conv2d0": _convolution(state, "conv1_7x7_s2", 2, 3),
                "stem": nn.Sequential(
                    halve[0],
                    norm,
                    _convolution(state, "conv2_3x3_reduce"),
                    _convolution(state, "conv2_3x3", padding=1),
                    norm,
                    halve[1],
                ),
            }
        )
        for name in BLOCKS:
            if name in ("4a", "5a"):
                self.stages[f"pool{name}"] = halve[2 if name == "4a" else 3]
            self.stages[f"mixed{name}"] = Block(state, name)
        self.classifier = nn.Linear(1024, 1000)
        self.classifier.weight.data = state["loss3_classifier.weight"]
        self.classifier.bias.data = state["loss3_classifier.bias"]
        self.requires_grad_(False)

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """Logits, or the activations of one stage."""
        for name, stage in self.stages.items():
            x = stage(x)
            if name == until:
                return x
        return self.classifier(x.mean((2, 3)))


def random_state() -> dict[str, Tensor]:
    """Random tensors in the naming and the shapes of the public file."""
    shapes = {"conv1_7x7_s2": (64, 3, 7), "conv2_3x3_reduce": (64, 64, 1), "conv2_3x3": (192, 64, 3)}
    inputs = 192
    for name, (one, before_three, three, before_five, five, pool) in WIDTHS.items():
        key = f"inception_{name}"
        shapes |= {
            f"{key}_1x1": (one, inputs, 1),
            f"{key}_3x3_reduce": (before_three, inputs, 1),
            f"{key}_3x3": (three, before_three, 3),
            f"{key}_5x5_reduce": (before_five, inputs, 1),
            f"{key}_5x5": (five, before_five, 5),
            f"{key}_pool_proj": (pool, inputs, 1),
        }
        inputs = one + three + five + pool
    state = {"loss3_classifier.weight": torch.randn(1000, 1024) / 32, "loss3_classifier.bias": torch.zeros(1000)}
    for key, (outputs, channels, size) in shapes.items():
        state[f"{key}.weight"] = torch.randn(outputs, channels, size, size) * (2 / channels) ** 0.5 / size
        state[f"{key}.bias"] = torch.zeros(outputs)
    return state


def preprocess(rgb: Tensor) -> Tensor:
    """[0, 1] in red, green, blue to what the network reads."""
    return 255 * rgb.flip(1) - torch.tensor(MEAN_BGR).view(1, 3, 1, 1)


class FourierImage:
    """Lucent's default image."""

    def __init__(self, size: int, seed: int = 0):
        """Draw coefficients."""
        generator = torch.Generator().manual_seed(seed)
        self.size = size
        fy, fx = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
        self.scale = 1 / (fy**2 + fx**2).sqrt().clamp(min=1 / size)
        self.params = 0.01 * torch.randn((1, 3, *self.scale.shape, 2), generator=generator)
        self.params.requires_grad_()

    def __call__(self) -> Tensor:
        """The picture `[1, 3, size, size]`."""
        spectrum = torch.view_as_complex(self.params) * self.scale
        waves = torch.fft.irfft2(spectrum, s=(self.size, self.size), norm="ortho") / 4
        return torch.sigmoid(torch.einsum("dc,ncyx->ndyx", COLOR, waves))


def _warp(x: Tensor, matrix: list[list[float]]) -> Tensor:
    theta = torch.tensor([matrix], dtype=x.dtype)
    return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=True), align_corners=True)


def _jitter(x: Tensor, pixels: int) -> Tensor:
    dy, dx = (2 * random.randrange(pixels) / (n - 1) for n in x.shape[2:])
    return _warp(x, [[1, 0, -dx], [0, 1, -dy]])


def lucent_transforms(x: Tensor) -> Tensor:
    """Pad, jitter, scale, rotate, jitter, one after the other, the size following the scale."""
    x = _jitter(F.pad(x, (12,) * 4, value=0.5), 8)
    scale = 1 + (random.randrange(11) - 5) / 50
    size = [math.ceil(n * scale) for n in x.shape[2:]]
    scaled = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    missing = [max(n - m, 0) for n, m in zip(x.shape[2:], size, strict=True)]
    (top, left), (bottom, right) = ([m // 2 for m in missing], [(m + 1) // 2 for m in missing])
    x = F.pad(scaled, (left, right, top, bottom))
    angle = math.radians(random.choice([*range(-10, 11), 0, 0, 0, 0, 0]))
    cos, sin = math.cos(angle), math.sin(angle)
    return _jitter(_warp(x, [[cos, -sin, 0], [sin, cos, 0]]), 4)


def one_resampling(x: Tensor) -> Tensor:
    """The same moves as one affine map, from 224 to 236 pixels for a picture of that size."""
    out = x.shape[-1] + 12
    scale, angle = 1 + (random.randrange(11) - 5) / 50, math.radians(random.choice([*range(-10, 11), 0, 0, 0, 0, 0]))
    cos, sin = out / x.shape[-1] * math.cos(angle) / scale, out / x.shape[-1] * math.sin(angle) / scale
    dy, dx = ((random.randrange(9) + random.randrange(5) - 6) * 2 / x.shape[-1] for _ in range(2))
    theta = torch.tensor([[[cos, -sin, dx], [sin, cos, dy]]])
    grid = F.affine_grid(theta, [1, 3, out, out], align_corners=False)
    return F.grid_sample(x - 0.5, grid, align_corners=False) + 0.5


def lucent_loop(network: GoogLeNet, layer: str, channel: int) -> tuple[Callable[[], None], FourierImage]:
    """One step of Lucent's loop, to be called again and again, and the picture that it changes."""
    network = copy.deepcopy(network)  # whose hooks stay with it
    features: dict[str, Tensor] = {}

    def remember(name: str):
        return lambda module, inputs, output: features.__setitem__(name, output)

    for name, module in network.named_modules():
        module.register_forward_hook(remember(name))
    image = FourierImage(224)
    optimizer = torch.optim.Adam([image.params], lr=0.05)

    def step() -> None:
        optimizer.zero_grad()
        network(preprocess(lucent_transforms(image())))
        (-features[f"stages.{layer}"][:, channel].mean()).backward()
        optimizer.step()

    return step, image


def cut_step(network: GoogLeNet, layer: str, channel: int) -> Callable[[], None]:
    """One step with the network cut by hand and the transforms as one resampling, to be called again and again."""
    image = FourierImage(224)
    optimizer = torch.optim.Adam([image.params], lr=0.05)

    def step() -> None:
        optimizer.zero_grad()
        (-network(preprocess(one_resampling(image())), until=layer)[:, channel].mean()).backward()
        optimizer.step()

    return step
