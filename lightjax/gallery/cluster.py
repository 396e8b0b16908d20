"""Which of many processes this is, on clusters that JAX knows."""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import jax

_QUESTION = """
import json, jax
jax.distributed.initialize()
visible = jax.config.values.get("jax_cuda_visible_devices")
print(json.dumps([jax.process_index(), jax.process_count(), visible]), flush=True)
jax.distributed.shutdown()
"""


class Place(NamedTuple):
    """Which process this is, from 0 on, and how many there are."""

    process: int
    processes: int


def find() -> Place:
    """Ask `jax.distributed` which process this is; it knows Slurm, Open MPI, Kubernetes and Cloud TPU.

    The processes meet once, to learn their numbers, and never again. `jax.distributed` ends all of them soon after one
    dies, which is right where they compute together, and wrong where each has work of its own. So it runs in a process
    that lives no longer than the question. Where the cluster gives each process a GPU of its own, ours will use that.

    Raises:
      ConnectionError: If no cluster is found, or not all of its processes come.
    """
    # On the CPU, so that the accelerators stay free for us.
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    asked = subprocess.run([sys.executable, "-c", _QUESTION], env=environment, capture_output=True, text=True)
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConnectionError(f"jax.distributed found no cluster whose processes meet: {reason}")
    process, processes, visible = json.loads(asked.stdout.strip().splitlines()[-1])
    if visible not in (None, "all"):
        jax.config.update("jax_cuda_visible_devices", visible)
        jax.config.update("jax_rocm_visible_devices", visible)
    return Place(process, processes)
