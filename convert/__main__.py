"""Convert a PyTorch checkpoint from the checkout: `python -m convert SRC.pth -o OUT.safetensors`."""

import sys

from lightjax.cli import main

main(["convert", *sys.argv[1:]])
