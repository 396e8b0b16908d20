"""Operations of the networks and of images, each with the derivative that feature visualization needs.

Images and activations are `[N, H, W, C]`, kernels `[height, width, in, out]`. All operations work under `jit`, `vmap`
and `grad`; they have reverse-mode derivatives only.
"""

from lightjax.ops.attention import softmax_product
from lightjax.ops.conv import Padding, conv, same_padding
from lightjax.ops.norm import gradient_of_length, local_response_norm
from lightjax.ops.pool import POOLS, Pool, max_pool, mean_max_pool, pooling, relaxed_max_pool
from lightjax.ops.relu import LEAK, LUCID_STEPS, RULES, Relu, clamp, leaky_gradient_relu, lucid_relu, rectifier, relu
from lightjax.ops.resample import resample

__all__ = [
    "LEAK",
    "LUCID_STEPS",
    "POOLS",
    "RULES",
    "Padding",
    "Pool",
    "Relu",
    "clamp",
    "conv",
    "gradient_of_length",
    "leaky_gradient_relu",
    "local_response_norm",
    "lucid_relu",
    "max_pool",
    "mean_max_pool",
    "pooling",
    "rectifier",
    "relaxed_max_pool",
    "relu",
    "resample",
    "same_padding",
    "softmax_product",
]
