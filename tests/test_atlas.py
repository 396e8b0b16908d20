"""Samples and atlases: places, evidence, layout, cells, pictures that land at home, resuming, and the page."""

import dataclasses
import importlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lightjax as lj
from lightjax import cli
from lightjax.analysis import Atlas, Sample, layout
from lightjax.analysis.atlases import pushed
from tests.test_page import NASTY, chromium, visit

__all__ = ["chromium", "visit"]  # fixtures

MAKING = importlib.import_module("lightjax.analysis.atlas")
SAMPLING = importlib.import_module("lightjax.analysis.sample")
LOGITS = "softmax2_pre_activation_matmul"
KERNELS = np.random.default_rng(0).standard_normal((16, 3, 6)).astype(np.float32)
NEXT = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32)
HEAD = np.random.default_rng(2).standard_normal((5, 4)).astype(np.float32)
SIDE = 40
"""Of the photographs: 10x10 positions of "a", 5x5 of "b"."""


class Network:
    """Two layers with positions and logits."""

    class_names = ("tench, Tinca tinca", NASTY[1], NASTY[2], "")

    def __call__(self, images, *, relu=jax.nn.relu):
        n, height, width, _ = images.shape
        blocks = images.reshape(n, height // 4, 4, width // 4, 4, 3).swapaxes(2, 3)
        a = relu(jnp.einsum("nijpc,pck->nijk", blocks.reshape(n, height // 4, width // 4, 16, 3), KERNELS))
        b = relu((a[:, ::2, ::2] + 2 * a[:, 1::2, 1::2]) @ NEXT)
        return {"a": a, "b": b, LOGITS: (b**2).mean((1, 2)) @ HEAD}


NETWORK = Network()
FEW = {"model": NETWORK, "size": SIDE, "progress": False}
SMALL = {"model": NETWORK, "size": 16, "steps": 2, "progress": False}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """36 pictures in two folders."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("cats", "dogs & more"):
        (folder / name).mkdir()
    random = np.random.default_rng(3)
    for i in range(36):
        picture = random.uniform(size=(5, 5, 3)).repeat(8, 0).repeat(8, 1).astype(np.float32)
        lj.pictures.save(folder / ("cats", "dogs & more")[i % 2] / f"{i:02}.png", picture)
    return folder


@pytest.fixture(scope="module")
def sample(photographs) -> Sample:
    """All pictures, two places of each, both layers."""
    return lj.sample(photographs, ["a", "b"], number=72, per_picture=2, **FEW)


@pytest.fixture(scope="module")
def points(sample) -> np.ndarray:
    """A layout of the sample."""
    return np.random.default_rng(4).uniform(0.01, 0.99, (len(sample.sources), 2))


@pytest.fixture(scope="module")
def atlas(sample, points) -> Atlas:
    """An atlas with two zooms."""
    return lj.atlas(sample, "a", layout=points, cells=(4, 2), least=2, **SMALL)


# The sample


def test_places_lie_inside_the_borders_and_are_the_same_in_all_layers(sample):
    small, large = sample.positions("b"), sample.positions("a")
    assert small.min() == 1
    assert small.max() == 3
    np.testing.assert_array_equal(large // 2, small)
    pairs = small.reshape(36, 2, 2)
    assert (pairs[:, 0] != pairs[:, 1]).any(1).all()  # two positions of one photograph differ
    seen = {(row, column) for row, column in small.tolist()}
    assert len(seen) == 9
    with pytest.raises(ValueError, match="per_picture must be at most 9"):
        lj.sample(sample.settings["folder"], ["a", "b"], per_picture=10, **FEW)


def test_vectors_are_the_activations_there_and_evidence_equals_reverse_mode(sample, photographs):
    for row in (0, 1, 70):
        picture = lj.load_picture(photographs / sample.sources[row], SIDE)[None]
        found = NETWORK(picture)
        for layer in ("a", "b"):
            i, j = sample.positions(layer)[row]
            np.testing.assert_allclose(sample.of(layer)[row], found[layer][0, i, j], rtol=1e-5, atol=1e-6)
        i, j = sample.positions("b")[row]
        gradient = jax.jacrev(lambda b: ((b**2).mean((1, 2)) @ HEAD)[0])(found["b"])[:, 0, i, j]
        np.testing.assert_allclose(sample.for_classes("b")[row], gradient @ found["b"][0, i, j], rtol=1e-4, atol=1e-6)


def test_other_batches_a_smaller_number_and_fewer_layers_give_the_same_rows(sample, photographs, monkeypatch):
    monkeypatch.setattr("lightjax.analysis.folder.BATCH", 7)
    other = lj.sample(photographs, ["a", "b"], number=71, per_picture=2, **FEW)
    assert other.sources == sample.sources[:71]
    np.testing.assert_array_equal(other.places, sample.places[:71])
    np.testing.assert_allclose(other.vectors, sample.vectors[:71], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.evidence, sample.evidence[:71], rtol=1e-4, atol=1e-5)


def test_a_sample_draws_photographs_and_says_when_there_is_nothing_to_compute(photographs):
    few = lj.sample(photographs, "a", number=5, classes=False, **FEW)
    others = lj.sample(photographs, "a", number=5, classes=False, seed=1, **FEW)
    assert len({*few.sources}) == 5
    assert few.sources != others.sources
    assert few.evidence.shape == (5, 1, 0)
    assert few.picture().ndim == 3
    with pytest.raises(ValueError, match="need a sample with classes"):
        few.only(0)
    with pytest.raises(ValueError, match="classes must be False for 'softmax2"):
        SAMPLING.rests_of(NETWORK, [LOGITS], jax.eval_shape(NETWORK, np.zeros((1, SIDE, SIDE, 3))), SIDE, 3, "max")
    with pytest.raises(ValueError, match="classes must be False for a network without logits"):
        lj.sample(photographs, "a", **{**FEW, "model": lambda images: {"a": images}})
    with pytest.raises(ValueError, match="layers must have positions"):
        lj.sample(photographs, LOGITS, **FEW)


def test_a_sample_that_was_cut_off_goes_on_and_ends_with_the_same_bytes(photographs, tmp_path, monkeypatch):
    call = {"number": 36, **FEW}
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    expected = lj.sample(photographs, "b", resume=whole, **call)
    monkeypatch.setattr(lj.analysis.reading, "SECONDS", 0.0)
    original, calls = SAMPLING.part_of, []

    def failing(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(SAMPLING, "part_of", failing)
    with pytest.raises(KeyboardInterrupt):
        lj.sample(photographs, "b", resume=cut, **call)
    assert Sample.read(cut).seen == 16
    assert repr(Sample.read(cut)) == "<Sample: 16 vectors of b, 16 of 36 files seen>"
    found = lj.sample(photographs, "b", resume=cut, **call)
    assert cut.read_bytes() == whole.read_bytes()
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    with pytest.raises(ValueError, match="another seed"):
        lj.sample(photographs, "b", resume=cut, **call, seed=1)
    with pytest.raises(ValueError, match="has another model"):
        lj.sample(photographs, "b", resume=cut, **{**call, "model": other})
    other.__name__ = "Network"
    with pytest.raises(ValueError, match="has other activations"):
        lj.sample(photographs, "b", resume=cut, **{**call, "model": other})


def other(images):
    """Another network of the same shapes."""
    return NETWORK(images / 2)


def test_only_keeps_what_speaks_for_a_class(sample):
    found = sample.for_classes("b")
    chosen = sample.only("tench", layer="b", largest=3)
    first = (found.argmax(1) == 0) & (found[:, 0] > 0)
    largest = np.argsort(-found[:, 0])[:3]
    expected = sorted({*np.flatnonzero(first), *largest[found[largest, 0] > 0]})
    np.testing.assert_array_equal(chosen.places, sample.places[expected])
    assert chosen.sources == [sample.sources[i] for i in expected]
    assert 0 < len(expected) < len(found)


# The layout


def test_margins_are_equal_and_each_point_is_in_one_cell():
    points = np.random.default_rng(0).standard_normal((1000, 2)) ** 3 + (5, -80)
    found = layout.normalized(points)
    low, high = np.percentile(found, [1, 99], axis=0)
    np.testing.assert_allclose(low, 1 / 12)
    np.testing.assert_allclose(high, 11 / 12)
    assert found.min() == 0
    assert found.max() == 1
    corners = np.array([[0, 0], [1, 1], [0.5, 0.5], [0.25, 0.75], [1, 0]])
    np.testing.assert_array_equal(layout.cell_of(corners, 4), [[0, 0], [3, 3], [2, 2], [3, 1], [0, 3]])
    counts = np.unique(layout.cell_of(found, 20), axis=0, return_counts=True)[1]
    assert counts.sum() == 1000
    with pytest.raises(ValueError, match="must spread the points"):
        layout.normalized(np.ones((5, 2)))


def test_tsne_keeps_directions_together_and_gives_the_same_bytes_twice():
    random = np.random.default_rng(0)
    centers = np.eye(12)[:4].repeat(15, 0)
    vectors = (centers + 0.1 * random.standard_normal((60, 12))) * random.uniform(0.1, 10, (60, 1))
    first, second = (layout.placed(vectors, "tsne", 3) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    distances = np.linalg.norm(first[:, None] - first, axis=-1) + 9 * np.eye(60)
    assert (distances.argmin(1) // 15 == np.arange(60) // 15).all()  # whatever their lengths


def test_umap_is_asked_by_angle_with_the_seed_and_missed_by_name(monkeypatch):
    asked = {}

    class UMAP:
        def __init__(self, **settings):
            asked.update(settings)

        def fit_transform(self, vectors):
            return vectors[:, :2]

    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"lightjax\[umap\]"):
        layout.placed(np.eye(5), "umap", 1)
    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=UMAP))
    found = layout.placed(np.random.default_rng(0).standard_normal((9, 3)), "umap", 7)
    assert (asked["metric"], asked["random_state"], asked["n_neighbors"]) == ("cosine", 7, 8)
    assert found.shape == (9, 2)


def test_the_real_umap_puts_groups_apart_and_gives_the_same_bytes_for_a_seed():
    pytest.importorskip("umap", reason="umap-learn is not installed")
    random = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 12), 20, 0) + 0.05 * random.standard_normal((60, 12))
    points = [layout.placed(vectors, "umap", seed) for seed in (1, 1, 2)]
    assert points[0].tobytes() == points[1].tobytes() != points[2].tobytes()
    groups = points[0].reshape(3, 20, 2)
    apart = np.linalg.norm(groups.mean(1)[[0, 1, 2]] - groups.mean(1)[[1, 2, 0]], axis=1)
    assert groups.std(1).max() < apart.min() / 2


def test_whitening_inverts_the_second_moments_with_a_ridge_and_is_what_is_rendered(sample, points, monkeypatch):
    x = sample.of("a").astype(float)
    moments = x.T @ x / len(x)
    expected = np.linalg.inv(moments + 1e-3 * np.trace(moments) / 6 * np.eye(6))
    np.testing.assert_allclose(MAKING.whitening(x), expected, rtol=1e-6)
    asked = []

    def ask(goals, **settings):
        asked.extend(goals)
        raise RuntimeError

    monkeypatch.setattr(MAKING, "visualize_many", ask)
    with pytest.raises(RuntimeError):
        lj.atlas(sample, "a", layout=points, cells=1, least=2, whiten=True, **SMALL)
    target = x.mean(0) @ expected
    vector = next(leaf for leaf in jax.tree.leaves(asked[0]) if np.ndim(leaf) == 1)
    np.testing.assert_allclose(vector, target / np.linalg.norm(target), rtol=1e-4, atol=1e-6)


# The atlas


def test_cells_hold_the_means_of_their_vectors(atlas, sample, points):
    assert atlas.zooms == [2, 4]
    for zoom, number in enumerate(atlas.zooms):
        places = np.floor(points[:, ::-1] * number).astype(int)
        cells = {tuple(cell[1:]): m for m, cell in enumerate(atlas.cells.tolist()) if cell[0] == zoom}
        for place in np.ndindex(number, number):
            inside = np.flatnonzero((places == place).all(1))
            assert (place in cells) == (len(inside) >= 2)
            if place in cells:
                m = cells[place]
                assert atlas.counts[m] == len(inside)
                np.testing.assert_allclose(atlas.means[m], sample.of("a")[inside].mean(0), rtol=1e-5, atol=1e-6)
                added = sample.for_classes("a")[inside].mean(0)
                np.testing.assert_allclose(atlas.evidence[m], added, rtol=1e-4, atol=1e-6)
                assert [value for _, value in atlas.classes(m)] == sorted(atlas.evidence[m][added > 0], reverse=True)
                likeness = layout.directions(sample.of("a")[inside]) @ layout.directions(atlas.means[m])
                np.testing.assert_array_equal(atlas.inside(m), inside[np.argsort(-likeness, kind="stable")])
                assert sum(count for _, count in atlas.folders(m)) == len(inside)
                assert len({one.source for one in atlas.photographs(m, 40)}) == len(atlas.photographs(m, 40))


def test_a_zoom_without_a_cell_is_refused(sample, points):
    with pytest.raises(ValueError, match="none of 40x40 cells has 9: take fewer cells or a larger sample"):
        lj.atlas(sample, "a", layout=points, cells=(2, 40), least=9, **SMALL)


def test_pictures_of_an_identity_network_land_at_home(tmp_path):
    colors = np.array([[1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1]], np.float32).repeat(3, 0)
    corners = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]]).repeat(3, 0)
    about = {**lj.analysis.reading.made_with(identity), "folder": str(tmp_path), "size": 16, "files": 9}
    nothing = np.zeros((9, 1, 0), np.float32)
    sample = Sample(about, ["a"], [[16, 16, 3]], ["x.png"] * 9, np.full((9, 2), 0.5), colors, nothing, [], 9)
    settings = {"layout": corners, "cells": 4, "least": 3, "model": identity, "size": 16, "progress": False}
    found = lj.atlas(sample, "a", steps=24, **settings)
    assert found.home == (1.0, 1.0)
    assert found.homes == [(1.0, 1.0)]
    assert lj.atlas(sample, "a", steps=0, **settings).home.own == pytest.approx(1 / 3)  # one picture for all
    assert found.with_icons(found.icons, np.roll(found.landed, 1, 0)).home == (0.0, 0.0)
    near = lj.atlas(sample, "a", steps=24, **{**settings, "cells": 2})
    assert near.with_icons(near.icons, np.roll(near.landed, 1, 0)).home == (0.0, 1.0)
    with pytest.raises(ValueError, match="model must be the network of the sample"):
        lj.atlas(sample, "a", **{**settings, "model": NETWORK})


def identity(images):
    """The pictures themselves."""
    return {"a": images}


def test_an_atlas_that_was_cut_off_goes_on_and_ends_with_the_same_bytes(sample, points, atlas, tmp_path, monkeypatch):
    call = {"layout": points, "cells": (4, 2), "least": 2, **SMALL}
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    lj.atlas(sample, "a", resume=whole, **call)
    monkeypatch.setattr(lj.analysis.reading, "SECONDS", 0.0)
    original = MAKING.visualize_many

    def cut_off(goals, **settings):
        for number, result in original(goals, **settings):
            if number == 9:
                raise KeyboardInterrupt
            yield number, result

    with monkeypatch.context() as patch:
        patch.setattr(MAKING, "visualize_many", cut_off)
        with pytest.raises(KeyboardInterrupt):
            lj.atlas(sample, "a", resume=cut, **call)
    begun = Atlas.read(cut)
    assert len(begun.icons) == 8 < len(begun.cells)
    assert "8 pictures so far" in repr(begun)
    with pytest.raises(ValueError, match="finished atlas only"):
        begun.save_page(tmp_path / "page")
    found = lj.atlas(sample, "a", resume=cut, **call)
    assert cut.read_bytes() == whole.read_bytes()
    np.testing.assert_array_equal(found.icons, atlas.icons)
    with pytest.raises(ValueError, match="has another cells"):
        lj.atlas(sample, "a", resume=cut, **{**call, "cells": 4})


def test_the_picture_has_the_cells_where_they_are(atlas):
    picture, side = atlas.picture(), 12
    assert picture.shape == (4 * side, 4 * side, 3)
    for (zoom, row, column), icon in zip(atlas.cells.tolist(), atlas.icons, strict=True):
        if zoom == 1:
            place = picture[row * side : (row + 1) * side, column * side : (column + 1) * side]
            np.testing.assert_array_equal(place, icon[2:-2, 2:-2])
    assert atlas.picture(0).shape == (2 * side, 2 * side, 3)
    with pytest.raises(IndexError, match="zoom must be less than 2"):
        atlas.picture(2)


# Other axes


def test_compare_lies_by_the_difference_of_two_classes(sample):
    found = lj.compare(sample, "tench", 3, layer="b", cells=2, least=1, **{**SMALL, "steps": 0})
    chosen = sample.only("tench", 3, layer="b")
    difference = chosen.for_classes("b")[:, 3] - chosen.for_classes("b")[:, 0]
    expected = np.clip(difference / np.percentile(np.abs(difference), 99), -1, 1)
    np.testing.assert_allclose(found.points[:, 0], (expected + 1) / 2, rtol=1e-6)
    assert found.points.shape == (len(chosen.sources), 2)
    with pytest.raises(ValueError, match="second must be another class"):
        lj.compare(sample, 0, "tench", **SMALL)


def test_aligned_layers_lie_in_one_layout(sample):
    x = np.random.default_rng(0).standard_normal((500, 4))
    exact = np.random.default_rng(1).standard_normal((4, 3))
    np.testing.assert_allclose(pushed(x, x @ exact, 0), exact, atol=1e-8)
    assert np.linalg.norm(pushed(x, x @ exact, 1.0)) < np.linalg.norm(exact)
    settings = {"cells": 2, "least": 1, **SMALL, "steps": 0}
    first, second = lj.aligned(sample, "a", "b", **settings)
    assert (first.settings["layer"], second.settings["layer"]) == ("a", "b")
    own = np.linalg.norm(first.points - second.points, axis=1)
    random = np.linalg.norm(first.points - np.roll(second.points, 7, 0), axis=1)
    assert own.mean() < 0.7 * random.mean()


# The page and the command


def test_the_page_finds_classes_zooms_and_shows_the_photographs_of_a_cell(visit, atlas, tmp_path):
    path = atlas.save_page(tmp_path / "page")
    assert sorted(one.name for one in path.parent.iterdir()) == ["index.html", "photographs"]
    before = path.read_bytes()
    assert atlas.save_page(tmp_path / "page").read_bytes() == before
    tab = visit(path)
    caption, words = tab.locator(".large figcaption"), tab.locator(".classes b")
    start = caption.inner_text()
    assert start.endswith("vectors")
    # A click shows a cell of the active zoom: 4x4 fills the square in the middle of the map.
    box = tab.locator(".atlas > canvas").bounding_box()
    side = min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    m = next(m for m, cell in enumerate(atlas.cells.tolist()) if cell[0] == 1 and cell[2] > 0)
    _, row, column = atlas.cells[m].tolist()
    tab.mouse.click(left + (column + 0.5) / 4 * side, top + (row + 0.5) / 4 * side)
    assert caption.inner_text() == f"row {row}, column {column}; {atlas.counts[m]} vectors"
    assert words.all_inner_texts() == [name for name, _ in atlas.classes(m)]
    shown = tab.locator(".photographs img")
    assert [shown.nth(i).get_attribute("alt") for i in range(shown.count())] == [
        one.source for one in atlas.photographs(m)
    ]
    assert shown.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 112
    # The keys go to the neighbor.
    tab.locator(".atlas > canvas").focus()
    tab.keyboard.press("ArrowLeft")
    assert caption.inner_text() != f"row {row}, column {column}; {atlas.counts[m]} vectors"
    # Searching
    chosen = sum(any(name == "tench" for name, _ in atlas.classes(i)) for i in np.flatnonzero(atlas.cells[:, 0] == 1))
    tab.locator("input").fill("TENCH")
    assert tab.locator("output").inner_text() == f"{chosen} of {(atlas.cells[:, 0] == 1).sum()} cells"
    tab.keyboard.press("Enter")
    assert "tench" in words.all_inner_texts()
    phone = visit(path, width=390, height=844, phone=True)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    assert atlas.save_page(tmp_path / "bare", photographs=0).parent.joinpath("photographs").exists() is False


def test_the_page_shows_more_cells_where_there_is_room_and_moves(visit, atlas, tmp_path):
    fine = dataclasses.replace(atlas, zooms=[2, 40])  # the cells of the second zoom are in its upper left corner
    tab = visit(fine.save_page(tmp_path / "fine", photographs=0))
    number, found = ((atlas.cells[:, 0] == zoom).sum() for zoom in (0, 1))
    search, said = tab.locator("input"), tab.locator("output")
    search.fill("e")
    assert said.inner_text().endswith(f" of {number} cells")
    box = tab.locator(".atlas > canvas").bounding_box()
    corner = box["x"] + (box["width"] - min(box["width"], box["height"])) / 2, box["y"]
    tab.mouse.move(corner[0] + 1, corner[1] + 1)
    for _ in range(3):
        tab.mouse.wheel(0, -400)
    tab.wait_for_function(f"document.querySelector('output').textContent.endsWith(' of {found} cells')")
    zoom = np.exp(3 * 400 * 0.0015)
    _, row, column = next(cell for cell in fine.cells.tolist() if cell[0] == 1 and cell[1] > 0 and cell[2] > 0)
    place = [(n + 0.5) / 40 * min(box["width"], box["height"]) * zoom for n in (column, row)]
    tab.mouse.move(*(c + p for c, p in zip(corner, place, strict=True)))  # to the cell, which is dragged away
    tab.mouse.down()
    tab.mouse.move(*(c + p + 30 for c, p in zip(corner, place, strict=True)), steps=3)
    tab.mouse.up()
    tab.mouse.click(*(c + p + 30 for c, p in zip(corner, place, strict=True)))
    assert tab.locator(".large figcaption").inner_text().startswith(f"row {row}, column {column};")
    tab.get_by_role("button", name="Fit").click()
    assert said.inner_text().endswith(f" of {number} cells")


def test_the_command_samples_lays_out_renders_and_goes_on(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lj, "load_model", lambda *_: NETWORK)
    monkeypatch.setattr(SAMPLING, "SIZE", SIDE)
    command = ["atlas", "a", str(photographs), "-o", str(tmp_path / "out"), "--number", "36", "--cells", "2", "-q"]
    command += ["--steps", "2", "--size", "16", "--least", "3", "--no-compilation-cache"]
    seen = []
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            cli.main(command)
        assert end.value.code == 0
        said = capsys.readouterr().out
        assert said.endswith("at home in their own cell\n")
        seen.append({path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()})
    assert seen[0] == seen[1]
    assert {"sample.safetensors", "atlas.safetensors", "index.html"} < seen[0].keys()
    with pytest.raises(SystemExit) as end:
        cli.main(["atlas", "a", str(photographs), "-o", str(photographs / "cats" / "out")])
    assert end.value.code == 2
    assert "--output must lie outside" in capsys.readouterr().err
