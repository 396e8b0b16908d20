"""Pictures in a notebook: in a row, and while they are made."""

import base64
import html
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
    settings = {"objective": "channel('<a&b>', 3)", "model": "bvlc_googlenet@0123456789ab"}
    return lj.Result(images, {}, np.asarray(values, np.float32), settings)


def shown(row):
    """The pictures of a row, and their captions."""
    cells = re.findall(
        r'<td><img src="data:image/(\w+);base64,([^"]*)" alt="([^"]*)"><br>([^<]*)</td>', row._repr_html_()
    )
    assert len(cells) == row._repr_html_().count("<td>")
    assert [alt for _, _, alt, _ in cells] == [caption for _, _, _, caption in cells]
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for _, data, _, _ in cells]
    assert [picture.format.lower() for picture in pictures] == [form for form, _, _, _ in cells]
    return pictures, [html.unescape(caption) for _, _, _, caption in cells]


def test_a_reading_is_called_by_its_kind_and_its_network_not_by_its_address():
    made = lj.analysis.Heatmap({"model": "bvlc_googlenet@0123456789ab"}, np.zeros((2, 2, 3)), np.zeros((2, 2)))
    assert repr(made) == "<Heatmap of bvlc_googlenet@0123456789ab>"


def test_a_row_shows_pictures_with_their_captions():
    gray = np.full((6, 7, 3), 0.5, np.float32)
    pictures, captions = shown(lj.show([gray, 0 * gray], ["mixed4a:97", 3]))
    assert [picture.size for picture in pictures] == [(7, 6), (7, 6)]
    assert captions == ["mixed4a:97", "3"]
    assert [np.asarray(picture).mean().round() for picture in pictures] == [128, 0]


def test_captions_may_come_from_any_iterable_and_may_be_left_out():
    gray = np.full((6, 7, 3), 0.5, np.float32)
    assert shown(lj.show((gray for _ in range(2)), {"a": 1, "b": 2}))[1] == ["a", "b"]
    assert shown(lj.show([gray]))[1] == [""]


def test_captions_are_text_and_never_tags():
    gray = np.full((6, 7, 3), 0.5, np.float32)
    nasty = '"><img src=x onerror=alert(1)> &amp;'
    row = lj.show([gray], [nasty])
    assert shown(row)[1] == [nasty]
    assert row._repr_html_().count("<img") == 1


def test_the_pictures_of_one_result_are_shown_one_by_one():
    batch = result([1.0], number=3)
    pictures, captions = shown(lj.show(batch, "abc"))
    assert [picture.size for picture in pictures] == [(7, 6)] * 3
    assert captions == ["a", "b", "c"]
    assert shown(lj.show(batch))[1] == ["", "", ""]


def test_each_of_several_results_is_a_sheet_under_its_objective():
    pictures, captions = shown(lj.show([result([1.0], number=2), result([1.0])]))
    assert [picture.size for picture in pictures] == [(7 + 4 + 7, 6), (7, 6)]
    assert captions == ["channel('<a&b>', 3)"] * 2


def test_a_picture_with_opacity_keeps_it():
    clear = np.zeros((6, 7, 4), np.float32)
    ((picture,), _) = shown(lj.show([clear]))
    assert picture.mode == "RGBA"
    assert np.asarray(picture).max() == 0


@pytest.mark.parametrize("captions", [[], ["a"], ["a", "b", "c"]])
def test_there_is_one_caption_for_each_picture(captions):
    with pytest.raises(ValueError, match=f"got {len(captions)} captions for 2 pictures"):
        lj.show(result([1.0], number=2), captions)


def points(page):
    found = re.search(r'points="([^"]*)"', page)
    return np.array([pair.split(",") for pair in found[1].split()], float)


def test_a_page_has_the_pictures_the_objective_and_its_course():
    page = notebook._page(result([1, 3, 2, 5], number=2), 300)
    data = re.search(r"base64,([^\"]*)", page)
    assert Image.open(io.BytesIO(base64.b64decode(data[1]))).size == (7 + 4 + 7, 6)
    assert "channel(&#x27;&lt;a&amp;b&gt;&#x27;, 3) of bvlc_googlenet after 4 steps: 5" in page
    # To the right in equal steps, and higher values higher up.
    np.testing.assert_allclose(points(page), [[0, 100], [100, 50], [200, 75], [300, 0]])


@pytest.mark.parametrize(("values", "expected"), [([2.0], [[0, 0]]), ([3.0, 3.0], [[0, 0], [300, 0]])])
def test_a_course_without_a_range_is_drawn_too(values, expected):
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
    with pytest.raises(RuntimeError, match="works in a notebook only"):
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
    assert "channel(&#x27;a&#x27;, 1) of model after 6 steps" in shown.data["text/html"]
    assert answer.data["text/plain"] == "np.True_"
