"""The notebooks run from a clean kernel, and their stored outputs are those of a whole run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OWN = {"03_your_network"}
"""Notebooks with a network of their own. The others run on a small one with GoogLeNet's names of layers and classes."""
MOST_BYTES = 1_500_000
FOLDERS = ("Motorbikes", "accordion", "airplanes", "dalmatian", "grand_piano", "llama", "sunflower", "wheelchair")
# A path from the root or from home, on any system; not the slashes of URLs, of tags and of prose.
ABSOLUTE = re.compile(r"(?<![\w:/.<])/[\w.-]+/|(?<!\w)~/|\b[A-Z]:\\")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return pytest.importorskip("nbformat").read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def pictures(cell):
    """The number of pictures that a cell shows."""
    shown = [output.get("data", {}) for output in cell.get("outputs", [])]
    return sum(("image/png" in data) + data.get("text/html", "").count("<img ") for data in shown)


def texts(path):
    """The texts of a notebook, without the bytes of its pictures."""
    for cell in read(path).cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            for kind, data in output.get("data", {}).items():
                if kind.startswith("text/"):
                    yield re.sub(r"base64,[^\"]*", "", data)


@pytest.fixture
def kernel(tmp_path, monkeypatch) -> str:
    """The name of a kernel that runs this interpreter."""
    pytest.importorskip("ipykernel.kernelspec").install(prefix=str(tmp_path), kernel_name="this")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    return "this"


@pytest.fixture(scope="module")
def photographs(shared, tmp_path_factory) -> Path:
    """A folder of eight classes with five photographs each."""
    if not (whole := shared / "datasets" / "caltech101").exists():
        pytest.skip("datasets/caltech101 is not here")
    folder = tmp_path_factory.mktemp("photographs")
    for name in FOLDERS:
        (folder / name).mkdir()
        for path in sorted((whole / name).glob("*.jpg"))[:5]:
            (folder / name / path.name).symlink_to(path)
    return folder


@pytest.mark.slow
def test_it_runs_from_a_clean_kernel(path, kernel, compilations, shared, photographs, tmp_path, monkeypatch, request):
    """With two steps for each picture, pictures of 64 pixels where the notebook allows it, and few photographs."""
    nbclient = pytest.importorskip("nbclient")
    quick = {
        "LIGHTJAX_NOTEBOOK_STEPS": "2",
        "LIGHTJAX_NOTEBOOK_SIZE": "64",
        "LIGHTJAX_PICTURES": str(shared / "images"),
        "LIGHTJAX_PHOTOGRAPHS": str(photographs),
    }
    for name, value in (quick | compilations | {"XDG_CACHE_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    document, folder = read(path), {"metadata": {"path": str(tmp_path)}}
    if path.stem not in OWN:
        setup = "from tests.stand_in import convert_to, stand_for_googlenet; stand_for_googlenet()"
        if "from_torch" in str(document):
            setup += f"; convert_to({str(request.getfixturevalue('efficientnet_file'))!r})"
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        document.cells.insert(0, pytest.importorskip("nbformat").v4.new_code_cell(setup))
    nbclient.NotebookClient(document, timeout=300, kernel_name=kernel, resources=folder).execute()
    shown = [pictures(cell) for cell in document.cells[-len(read(path).cells) :]]
    assert shown == [pictures(cell) for cell in read(path).cells]


def test_it_was_run_once_from_top_to_bottom(path):
    cells = code(path)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not any(cell.metadata for cell in cells)


def test_it_was_run_with_all_its_steps(path):
    made = [int(steps) for text in texts(path) for steps in re.findall(r", (\d+) steps, objective", text)]
    assert made
    assert min(made) >= 128


def test_every_section_shows_pictures(path):
    sections = []
    for cell in read(path).cells:
        if cell.source.startswith("## "):
            sections.append([cell.source.splitlines()[0], 0])
        if sections:
            sections[-1][1] += pictures(cell)
    assert len(sections) >= 5
    assert not [name for name, number in sections if not number]


def test_it_shows_nothing_but_results(path):
    outputs = [output for cell in code(path) for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"execute_result"}


def test_it_is_small(path):
    assert path.stat().st_size < MOST_BYTES


def test_it_has_no_path_of_the_machine_that_it_was_made_on(path):
    for text in texts(path):
        assert not ABSOLUTE.search(text)
