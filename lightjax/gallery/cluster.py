"""Which process of a cluster this is, on the clusters that JAX knows."""

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


class Rank(NamedTuple):
    """Number of this process, from 0, and the number of all processes."""

    process: int
    processes: int


def this_process() -> Rank:
    """Ask `jax.distributed` which process this is. It knows Slurm, Open MPI, Kubernetes and Cloud TPU.

    The processes connect once to learn their numbers. `jax.distributed` ends all processes when one dies, but these
    processes are independent. Therefore `jax.distributed` runs in a child process that ends after it has printed the
    number. Where the cluster gives each process its own GPU, this process will use that GPU.

    Returns:
      The number of this process, and the number of all processes.

    Raises:
      ConnectionError: If there is no cluster, or some of its processes do not connect.
    """
    # On the CPU, so that the accelerators stay free for this process.
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    asked = subprocess.run([sys.executable, "-c", _QUESTION], env=environment, capture_output=True, text=True)
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConnectionError(f"jax.distributed found no cluster, or some processes did not connect: {reason}")
    process, processes, visible = json.loads(asked.stdout.strip().splitlines()[-1])
    if visible not in (None, "all"):
        jax.config.update("jax_cuda_visible_devices", visible)
        jax.config.update("jax_rocm_visible_devices", visible)
    return Rank(process, processes)
