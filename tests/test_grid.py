"""The activation grid: its pictures, its channels and classes, its files, and its page in Chromium."""

import io
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import lightjax as lj
from lightjax.analysis import Grid, page
from lightjax.analysis.grid_section import CROP
from tests.test_page import NASTY, chromium, visit

__all__ = ["chromium", "visit"]  # fixtures

KERNELS = np.random.default_rng(0).standard_normal((2, 3, 6)).astype(np.float32)
HEAD = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
LOGITS = "softmax2_pre_activation_matmul"


class Network:
    """A network whose position (i, j) of "a" sees 8x8 pixels, black ones as nothing."""

    class_names = ("tench, Tinca tinca", NASTY[1], NASTY[2], "")

    def __call__(self, images, *, relu=jax.nn.relu):
        blocks = images.reshape(len(images), images.shape[1] // 8, 8, images.shape[2] // 8, 8, 3)
        halves = jnp.stack([blocks[:, :, :4], blocks[:, :, 4:]], -2).mean((2, 4))
        a = relu(jnp.einsum("nijhc,hck->nijk", halves, KERNELS))
        b = (a[:, ::2] + 2 * a[:, 1::2]) ** 2
        return {"a": a, "tokens": a.reshape(len(a), -1, 6), "end": a + 1, LOGITS: b.mean((1, 2)) @ HEAD}


NETWORK = Network()
FEW = {"model": NETWORK, "size": 16, "steps": 3, "progress": False}


def photograph() -> np.ndarray:
    """4x3 positions: (0, 0) and (2, 1) alike, (1, 1) a quarter of them, (3, 2) black."""
    made = np.random.default_rng(2).uniform(size=(32, 24, 3)).astype(np.float32)
    made[16:24, 8:16] = made[:8, :8]
    made[8:16, 8:16] = made[:8, :8] / 4
    made[24:, 16:] = 0
    return made


@pytest.fixture(scope="module")
def grid() -> Grid:
    """The grid of the small network and picture."""
    return lj.activation_grid(photograph(), "a", **FEW)


def test_equal_vectors_give_equal_pictures_and_so_do_vectors_of_another_length(grid):
    assert grid.pictures.shape == (4, 3, 16, 16, 3)
    np.testing.assert_array_equal(grid.pictures[0, 0], grid.pictures[2, 1])
    np.testing.assert_allclose(grid.pictures[0, 0], grid.pictures[1, 1], atol=1e-4)
    assert not np.allclose(grid.pictures[0, 0], grid.pictures[0, 1], atol=1e-2)


def test_a_cell_is_the_render_of_its_direction_with_the_seed(grid):
    vector = grid.vectors[0, 1] / np.linalg.norm(grid.vectors[0, 1])
    goal = lj.objectives.direction_neuron("a", vector, power=4)
    alone = lj.visualize(goal, **FEW)
    np.testing.assert_allclose(grid.pictures[0, 1], alone.image, atol=1e-4)
    other = lj.activation_grid(photograph(), "a", **FEW, seed=5)
    assert not np.allclose(other.pictures[0, 1], alone.image, atol=1e-2)
    assert other.settings["seed"] == 5


def test_the_strengths_are_lengths_and_the_area_of_a_cell_is_proportional_to_them(grid):
    expected = np.linalg.norm(np.asarray(NETWORK(photograph()[None])["a"])[0], axis=-1)
    np.testing.assert_allclose(grid.strengths, expected, rtol=1e-5)
    np.testing.assert_allclose(grid.sides[1, 1] / grid.sides[0, 0], 0.5, rtol=1e-5)
    assert grid.sides.max() == 1
    side, picture = 16 - 2 * CROP, grid.picture()
    assert picture.shape == (4 * side, 3 * side, 3)
    ground = picture[-1, -1]
    for row, column in np.ndindex(4, 3):
        place = picture[row * side : (row + 1) * side, column * side : (column + 1) * side]
        covered = (np.abs(place - ground) > 1e-6).any(-1).sum()
        assert covered == pytest.approx(round(grid.sides[row, column] * side) ** 2, abs=2)


def test_cells_of_one_size_have_no_seams():
    grid = lj.activation_grid(photograph(), "a", **FEW, sized=False)
    inner = grid.pictures[:, :, CROP:-CROP, CROP:-CROP]
    np.testing.assert_array_equal(grid.picture()[12:24, :12], inner[1, 0])
    assert (grid.sides[:3] == 1).all()
    assert grid.sides[3, 2] == 0


def test_a_position_without_activations_is_a_blank_cell_and_is_said(grid):
    assert grid.strengths[3, 2] == 0
    assert np.unique(grid.pictures[3, 2]).size == 1
    assert repr(grid) == "<Grid: 4x3 cells of a of Network, 1 of them blank because no channel is active there>"
    with pytest.raises(ValueError, match="no channel of a is active anywhere"):
        lj.activation_grid(np.zeros((16, 16, 3)), "a", **FEW)


def test_channels_and_classes_are_the_largest_of_each_position_and_equal_reverse_mode(grid):
    a = jnp.asarray(NETWORK(photograph()[None])["a"])

    def logits(a):
        return (((a[:, ::2] + 2 * a[:, 1::2]) ** 2).mean((1, 2)) @ HEAD)[0]

    reverse = (jax.jacrev(logits)(a)[:, 0] * a[0]).sum(-1)  # [classes, h, w]
    np.testing.assert_allclose(grid.evidence, np.moveaxis(reverse, 0, -1), rtol=1e-3, atol=1e-5)
    numbers, values = grid.classes
    assert numbers.shape == (4, 3, 4)
    np.testing.assert_array_equal(numbers[0, 0], np.argsort(-grid.evidence[0, 0], kind="stable"))
    np.testing.assert_array_equal(values[0, 0], np.sort(grid.evidence[0, 0])[::-1])
    numbers, values = grid.channels
    assert numbers.shape == (4, 3, 5)
    np.testing.assert_array_equal(values[1, 2], np.sort(grid.vectors[1, 2])[::-1][:5])
    np.testing.assert_array_equal(grid.vectors[1, 2][numbers[1, 2]], values[1, 2])


def test_layers_that_lead_to_no_logits_have_no_classes(visit, tmp_path):
    found = lj.activation_grid(photograph(), "end", **{**FEW, "steps": 0})
    assert found.evidence.shape == (4, 3, 0)
    tab = visit(found.save_page(tmp_path / "end.html"))
    assert tab.locator("h3").all_inner_texts() == ["Channels of end"]


def test_what_has_no_positions_is_refused():
    for layer, shape in ((LOGITS, r"\[1, 4\]"), ("tokens", r"\[1, 12, 6\]")):
        with pytest.raises(ValueError, match=f"layer must have positions, .* has {shape}"):
            lj.activation_grid(photograph(), layer, **FEW)
    with pytest.raises(ValueError, match="unknown layer 'aa'; did you mean 'a'"):
        lj.activation_grid(photograph(), "aa", **FEW)
    with pytest.raises(ValueError, match="picture must be one picture, got 2"):
        lj.activation_grid(np.stack([photograph()] * 2), "a", **FEW)


def test_a_grid_reads_back_all_that_it_saved(grid, tmp_path):
    grid.save(tmp_path / "grid.safetensors")
    found = Grid.read(tmp_path / "grid.safetensors")
    for name in ("pictures", "vectors", "evidence", "photograph"):
        np.testing.assert_array_equal(getattr(found, name), getattr(grid, name))
    assert (found.settings, found.class_names, found.sized) == (grid.settings, grid.class_names, True)
    assert found.class_names == list(Network.class_names)
    found.save(tmp_path / "grid.png")
    assert lj.pictures.read_settings(tmp_path / "grid.png")["layer"] == "a"
    with Image.open(tmp_path / "grid.png") as saved:
        assert saved.size == (36, 48)


# The page


def test_the_page_is_one_file_with_the_same_bytes_that_asks_nothing_of_a_network(grid, tmp_path):
    path = grid.save_page(tmp_path / "page")
    assert path == tmp_path / "page" / "index.html"
    assert grid.save_page(tmp_path / "other.html").read_bytes() == path.read_bytes()
    assert [*path.parent.iterdir()] == [path]
    text = path.read_text()
    assert re.findall(r"https?://", text) == []
    assert set(re.findall(r"(?:url\(|src=\")([a-z]+:image)", text)) == {"data:image"}


def test_a_cell_shows_its_channels_classes_and_place_by_pointer_focus_and_touch(visit, grid, tmp_path):
    path = grid.save_page(tmp_path / "grid.html")
    tab = visit(path)
    caption, lists = tab.locator("figcaption").first, tab.locator(".channels li, .classes li")
    strongest = np.argwhere(grid.sides == 1)[0]
    assert caption.inner_text().startswith("row {}, column {};".format(*strongest))
    tab.locator(".cell").nth(4).hover()
    assert caption.inner_text() == f"row 1, column 1; length {grid.strengths[1, 1]:.3g}"
    channel = str(grid.channels.numbers[1, 1, 0])
    assert tab.locator(".channels .name").first.inner_text() == channel
    names = ["tench", NASTY[1], NASTY[2].partition(",")[0], "3"]
    shown = tab.locator(".classes .name").all_inner_texts()
    assert shown == [names[i] for i in grid.classes.numbers[1, 1]]
    # The mark in the photograph is over the position: 8 of 32 rows, 8 of 24 columns.
    mark, photo = (tab.locator(s).bounding_box() for s in (".photograph i", ".photograph img"))
    assert mark["x"] - photo["x"] == pytest.approx(photo["width"] / 3, abs=1)
    assert mark["y"] - photo["y"] == pytest.approx(photo["height"] / 4, abs=1)
    # Keys
    tab.mouse.move(0, 0)
    tab.keyboard.press("Tab")
    for key, place in (("ArrowRight", (1, 2)), ("ArrowRight", (1, 2)), ("ArrowDown", (2, 2)), ("Home", (2, 0))):
        tab.keyboard.press(key)
        assert caption.inner_text().startswith("row {}, column {};".format(*place))
    assert tab.locator(".cell[tabindex='0']").count() == 1
    # A blank cell has no channels.
    tab.locator(".cell").nth(11).hover()
    assert caption.inner_text() == "row 3, column 2; length 0"
    assert lists.count() == 0
    assert "In 1 of 12 cells no channel is active" in tab.locator(".hint").inner_text()
    # Its cells have the sizes and the pictures that they should.
    sizes = [box["width"] for box in (tab.locator(".cell > span").nth(i).bounding_box() for i in (0, 4))]
    assert sizes[1] / sizes[0] == pytest.approx(0.5, abs=0.02)
    phone = visit(path, width=390, height=844, phone=True)
    phone.locator(".cell").nth(7).tap()
    assert phone.locator("figcaption").first.inner_text().startswith("row 2, column 1;")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read_in_both_schemes_and_runs_under_its_own_policy(chromium, grid, tmp_path, scheme):
    context = chromium.new_context(color_scheme=scheme)
    tab = context.new_page()
    tab.goto(grid.save_page(tmp_path / "grid.html").as_uri())
    ink, paper = (
        sum(map(int, re.findall(r"\d+", tab.evaluate(f"getComputedStyle(document.documentElement).{name}"))[:3]))
        for name in ("color", "backgroundColor")
    )
    assert abs(ink - paper) > 450
    assert (ink < paper) == (scheme == "light")
    assert tab.locator(".channels li").count() > 0  # the script ran
    context.close()


def test_pictures_of_channels_stand_beside_their_names(visit, grid, tmp_path):
    shades = {number: np.full((20, 20, 3), number / 10, np.float32) for number in range(6)}
    for number, shade in shades.items():
        settings = {"model": grid.settings["model"], "layer": "a", "channel": number, "kind": "positive"}
        lj.pictures.save(tmp_path / f"{number}.png", shade, settings)
    lj.pictures.save(tmp_path / "negative.png", shades[0], {"layer": "a", "channel": 1, "kind": "negative"})
    lj.pictures.save(tmp_path / "other.jpg", shades[0])
    by_folder = grid.save_page(tmp_path / "folder.html", sprites=tmp_path).read_bytes()
    page_of = grid.save_page(tmp_path / "mapping.html", sprites=shades)
    assert page_of.read_bytes() == by_folder
    tab = visit(page_of)
    assert tab.locator(".channels .sprite").count() == tab.locator(".channels li").count() > 0
    shown = tab.locator(".channels .sprite").first.screenshot()
    channel = int(tab.locator(".channels .name").first.inner_text())
    with Image.open(io.BytesIO(shown)) as middle:
        assert middle.convert("L").getpixel((20, 20)) == pytest.approx(channel * 25.5, abs=3)
    for wrong in ({}, {1.5: shades[0]}, tmp_path / "nowhere", 3):
        with pytest.raises((TypeError, ValueError, OSError)):
            grid.save_page(tmp_path / "wrong.html", sprites=wrong)
    lj.pictures.save(tmp_path / "0.png", shades[0], settings | {"model": "another", "channel": 0})
    with pytest.raises(ValueError, match=r"those of .* are of 'another'"):
        grid.save_page(tmp_path / "wrong.html", sprites=tmp_path)
    with pytest.raises(ValueError, match="sprites must have pictures of channels of end"):
        lj.activation_grid(photograph(), "end", **{**FEW, "steps": 0}).save_page(tmp_path / "x.html", sprites=tmp_path)


def test_a_page_has_several_sections_and_escapes_their_titles(visit, grid, tmp_path):
    picture = page.picture(NASTY[0], photograph(), NASTY[1])
    path = page.write(
        tmp_path / "all.html",
        title=NASTY[2],
        sections=[picture, grid.section(), grid.section()],
        settings={"a": NASTY[0]},
    )
    tab = visit(path)
    assert tab.title() == NASTY[2]
    assert tab.locator("h2").all_inner_texts() == [NASTY[0], "Grid of a", "Grid of a"]
    tab.locator(".cell").nth(12 + 4).hover()
    captions = tab.locator(".large figcaption").all_inner_texts()
    assert captions[1].startswith("row 1, column 1;")
    assert captions[0] != captions[1]
