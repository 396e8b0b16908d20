"""The site: the examples of its pages run, and so do those of the docstrings."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lightjax as lj
from tests.test_readme import READING

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if "```python" in path.read_text())
NEEDS = {"networks.md": "torchvision", "transformers.md": "timm", "house.md": "", "names.md": "tested by test_names"}
NEEDS |= {"atlas.md": "thousands of photographs", "evaluation.md": "photographs of classes, and a second network"}
"""Pages whose examples need networks or photographs that are not here."""

SPOKEN_OF = """
import jax
import jax.numpy as jnp
import numpy as np
import lightjax as lj
from tests.stand_in import quicken, stand_in, write_files

quicken()
write_files()
draw = np.random.default_rng(0)
model = stand_in()
images = photographs = draw.uniform(size=(2, 224, 224, 3)).astype(np.float32)
vector = draw.normal(size=528).astype(np.float32)
activations = draw.uniform(size=(64, 512)).astype(np.float32)
contrast = lambda activations: activations["mixed4a"][..., 97].std()
my_network = lambda images: {"layer2.0.conv1": images.repeat(16, -1)}
lj.visualize("mixed4a:97", size=64).save("mixed4a_97.png")
first = second = lj.visualize("mixed4a:97", size=64)
"""
"""What the examples speak of."""


@pytest.mark.filterwarnings("ignore")
def test_the_examples_of_the_pages_and_of_the_docstrings_run(tmp_path):
    """In one process, which compiles a program once for all of them."""
    pages = [path for path in PAGES if path.name not in NEEDS]
    assert len(pages) >= 12
    assert len(examples()) >= 15
    blocks = [SPOKEN_OF, "KNOWN = dict(globals())", *re.findall(r"```python\n(.*?)```", READING, re.DOTALL)]
    for path in pages:
        blocks += [
            f"print({path.name!r}, flush=True)",
            *re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL),
        ]
    blocks += ["from tests.test_docs import run_examples", "run_examples(KNOWN)"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(blocks)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def examples() -> dict[str, list[doctest.Example]]:
    """The examples of all docstrings, by the name of what they stand in."""
    found = {}
    for module in pkgutil.walk_packages(lj.__path__, "lightjax."):
        here = importlib.import_module(module.name)
        for name, value in vars(here).items():
            if getattr(value, "__module__", "") != module.name:
                continue
            methods = vars(value) if isinstance(value, type) else {}
            for member, one in {"": value, **{f".{key}": getattr(value, key) for key in methods}}.items():
                if callable(one) and (text := one.__doc__):
                    found[f"{module.name}.{name}{member}"] = doctest.DocTestParser().get_examples(
                        inspect.cleandoc(text)
                    )
    return {name: those for name, those in found.items() if those}


def parents(name: str) -> list[str]:
    """The dotted names above a name, the nearest first."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]


class Shown(doctest.OutputChecker):
    """What an example shows is compared where the docstring says it."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


def run_examples(known: dict) -> None:
    """Run the examples of all docstrings, each among the names of its module."""
    failed: list[str] = []
    for name, those in examples().items():
        if name.rpartition(".")[2] in ("evaluate", "sample", "atlas", "compare", "aligned"):
            continue  # they need thousands of photographs, or a second network
        module = next(sys.modules[part] for part in parents(name) if part in sys.modules)
        test = doctest.DocTest(those, vars(module) | known, name, None, None, None)
        doctest.DocTestRunner(Shown(), verbose=False).run(test, out=failed.append)
    assert not failed, "".join(failed)
