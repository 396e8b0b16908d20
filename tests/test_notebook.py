"""The display of a render in a notebook."""

import base64
import io
import re
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

import lightjax as lj
from lightjax import notebook


def result(values, number=1):
    images = np.random.default_rng(0).random((number, 6, 7, 3), np.float32)
    return lj.Result(images, {}, np.asarray(values, np.float32), 0, {"objective": "channel('<a&b>', 3)"})


def points(page):
    found = re.search(r'points="([^"]*)"', page)
    return np.array([pair.split(",") for pair in found[1].split()], float)


def test_a_page_has_the_pictures_the_objective_and_its_course():
    page = notebook._page(result([1, 3, 2, 5], number=2), 300)
    data = re.search(r"base64,([^\"]*)", page)
    assert Image.open(io.BytesIO(base64.b64decode(data[1]))).size == (7 + 4 + 7, 6)
    assert "channel(&#x27;&lt;a&amp;b&gt;&#x27;, 3) after 4 steps: 5" in page
    # To the right in equal steps, and higher values higher up.
    np.testing.assert_allclose(points(page), [[0, 100], [100, 50], [200, 75], [300, 0]])


@pytest.mark.parametrize(("values", "expected"), [([2.0], [[0, 0]]), ([3.0, 3.0], [[0, 0], [300, 0]])])
def test_a_course_of_one_value_is_no_division_by_zero(values, expected):
    np.testing.assert_allclose(points(notebook._page(result(values), 300)), expected)


def test_before_the_first_step_there_is_no_course():
    page = notebook._page(result([]), 300)
    assert "after 0 steps<" in page
    assert "svg" not in page


def test_a_long_course_is_thinned_and_keeps_its_ends():
    course = points(notebook._page(result(np.arange(2000.0)), 300))
    assert len(course) == notebook._POINTS
    np.testing.assert_allclose(course[[0, -1]], [[0, 100], [300, 0]])


def test_without_a_notebook_or_ipython_it_says_so(monkeypatch):
    pytest.importorskip("IPython")
    with pytest.raises(RuntimeError, match="draws in a notebook, and this is none"):
        lj.live()
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(ImportError, match="pip install ipython"):
        lj.live()


def test_a_notebook_shows_one_picture_and_updates_it():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    code = """
        import lightjax as lj

        def model(images):
            return {"a": images}

        result = lj.visualize("a:1", model=model, steps=6, size=8, callback=lj.live(), every=2, progress=False)
        result.values[-1] > result.values[0]
    """
    cell = nbformat.v4.new_code_cell(textwrap.dedent(code).strip())
    document = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(document, timeout=120, kernel_name="python3").execute()
    shown, answer = cell.outputs
    assert shown.output_type == "display_data"
    assert "channel(&#x27;a&#x27;, 1) after 6 steps" in shown.data["text/html"]
    assert answer.data["text/plain"] == "np.True_"
