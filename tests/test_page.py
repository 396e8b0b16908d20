"""The page of a gallery: the file as it is written, and in Chromium, opened from disk as a reader opens it."""

import json
import math
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from lightjax.gallery import page
from lightjax.gallery.manifest import KINDS

SETTINGS = {"model": "bvlc_googlenet@e87c85cf2e01", "steps": 128, "size": [64, 64], "relu": None, "optimizer": 0.05}
NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "a/b c#d?%41&amp;",
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def picture(folder: Path, file: str, shade: int = 0) -> str:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16, 3), shade % 256, np.uint8)).save(path)
    return file


def entry(folder: Path, layer: str, channel: int, kinds=("positive",), place: str | None = None, **more) -> dict:
    place = place or layer
    pictures = [
        {
            "kind": kind,
            "file": picture(folder, f"{place}/{channel:04d}_{i}_{kind}.png", channel),
            "values": [float((1 - 2 * (kind == "negative")) * (k + channel + i)) for k in range(8)],
        }
        for i, kind in enumerate(kinds)
    ]
    command = f"lightjax render '{layer}:{channel}' --steps 128"
    return {"layer": layer, "channel": channel, "pictures": pictures, "command": command, **more}


def small(folder: Path) -> list[dict]:
    """Two layers, one channel with all there can be."""
    full = entry(folder, "mixed4a", 97, ("positive", "negative", "diverse", "diverse"))
    examples = [picture(folder, f"examples/{i}.png") for i in range(3)]
    full["examples"] = [
        {"file": file, "value": 3.5 - i, "source": f"photos/dog {i}.jpg"} for i, file in enumerate(examples)
    ]
    others = [entry(folder, layer, channel) for layer in ("mixed4a", "mixed4b") for channel in range(95, 120)]
    return [full, *(other for other in others if (other["layer"], other["channel"]) != ("mixed4a", 97))]


def write(folder: Path, entries: list[dict] | None = None, title: str = "A gallery", settings=SETTINGS) -> Path:
    return page.write(folder, title=title, settings=settings, entries=small(folder) if entries is None else entries)


# The file


def test_the_same_arguments_give_the_same_bytes_and_nothing_else_is_left(tmp_path):
    entries = small(tmp_path)
    before = set(tmp_path.iterdir())
    path = write(tmp_path, entries)
    first = path.read_bytes()
    assert write(tmp_path, entries).read_bytes() == first
    assert path == tmp_path / "index.html"
    assert set(tmp_path.iterdir()) - before == {path}


def test_nothing_is_asked_of_a_network(tmp_path):
    text = write(tmp_path).read_text()
    assert re.findall(r"https?://[^\s\"')]+", text) == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert "@import" not in text
    assert "url(" not in text


def test_layers_come_as_they_are_given_and_channels_in_order(tmp_path):
    entries = [entry(tmp_path, layer, channel) for layer, channel in (("z", 9), ("a", 3), ("z", 10), ("z", 1))]
    assert re.findall(r'class="tile" href="([^"]+)"', write(tmp_path, entries).read_text()) == [
        "#z/1",
        "#z/9",
        "#z/10",
        "#a/3",
    ]


def test_the_first_positive_picture_stands_for_the_channel(tmp_path):
    entries = [entry(tmp_path, "a", 0, ("diverse", "negative", "positive")), entry(tmp_path, "a", 1, ("negative",))]
    thumbnails = re.findall(r'<img src="([^"]+)" alt="a, channel', write(tmp_path, entries).read_text())
    assert thumbnails == ["a/0000_2_positive.png", "a/0001_0_negative.png"]


def test_the_data_are_json_whatever_the_values_are(tmp_path):
    broken = entry(tmp_path, "a", 0)
    broken["pictures"][0]["values"] = [1.23456789, math.nan, math.inf, -1e-9]
    text = write(tmp_path, [broken]).read_text()
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])
    assert data["0"]["pictures"][0]["values"] == [1.235, None, None, -1e-09]


@pytest.mark.parametrize("name", NASTY)
def test_names_cannot_leave_the_data(name, tmp_path):
    entries = [entry(tmp_path, name, 0, place="x", label=name)]
    text = write(tmp_path, entries, title=name, settings={name: name}).read_text()
    assert text.count("<script") == 2
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    data = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1]
    assert not set("<>&'") & set(data)


def test_what_is_wrong_with_an_entry_is_said(tmp_path):
    one = entry(tmp_path, "a", 0)
    with pytest.raises(ValueError, match="a:0 is in the gallery twice"):
        write(tmp_path, [one, one])
    with pytest.raises(ValueError, match="a:0 has no pictures"):
        write(tmp_path, [{**one, "pictures": []}])
    with pytest.raises(ValueError, match="unknown kind of a picture of a:0: 'best'; known are 'positive', 'negative'"):
        write(tmp_path, [{**one, "pictures": [{**one["pictures"][0], "kind": "best"}]}])
    assert not (tmp_path / "index.html").exists()


def test_an_older_page_stays_when_a_new_one_cannot_be_written(tmp_path, monkeypatch):
    old = write(tmp_path).read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, [entry(tmp_path, "a", 0)])
    assert (tmp_path / "index.html").read_bytes() == old
    assert not list(tmp_path.glob(".*"))


# In the browser


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium here to open the page in")
    api = pytest.importorskip("playwright.sync_api", reason="Playwright, which drives the browser, is not here")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Open a page from disk; at the end, nothing must have gone wrong in it, and no network been asked."""
    contexts, troubles, asked = [], [], []

    def visit(path: Path, fragment: str = "", *, width: int = 1280, height: int = 800, phone: bool = False, **options):
        # Without its content security policy, which would hide what escapes, and in which Playwright cannot wait.
        options |= {"is_mobile": phone, "has_touch": phone, "reduced_motion": "reduce", "bypass_csp": True}
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(8000)
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        tab.on("requestfailed", lambda request: troubles.append(f"{request.url}: {request.failure}"))
        tab.on("request", lambda request: asked.append(urlsplit(request.url).scheme))
        tab.goto(path.as_uri() + fragment)
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert not troubles
    assert set(asked) <= {"file", "data"}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    """The page of a small gallery."""
    return write(tmp_path_factory.mktemp("gallery"))


def address(tab) -> str:
    return tab.evaluate("location.hash")


def focused(tab) -> str | None:
    return tab.evaluate("document.activeElement.getAttribute('href')")


def shown(tab) -> list[str]:
    return tab.evaluate("[...document.querySelectorAll('.tile')].filter(t => t.checkVisibility()).map(t => t.hash)")


def test_it_opens_with_all_layers_and_its_settings(visit, gallery):
    tab = visit(gallery)
    assert tab.title() == "A gallery"
    assert tab.locator("nav a").all_inner_texts() == ["mixed4a\n25", "mixed4b\n25"]
    assert len(shown(tab)) == 50
    assert tab.get_by_role("status").first.inner_text() == "50 channels"
    assert tab.locator("nav a[aria-current]").all_inner_texts() == ["mixed4a\n25"]
    tab.get_by_role("button", name="About").click()
    facts = tab.get_by_role("dialog").locator(".facts").inner_text().split("\n")
    assert facts == ["model", SETTINGS["model"], "steps", "128", "size", "64, 64", "relu", "none", "optimizer", "0.05"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("mixed4a 97", ["#mixed4a/97"]),
        ("4a/97", ["#mixed4a/97"]),
        ("MIXED4B:97", ["#mixed4b/97"]),
        ("97", ["#mixed4a/97", "#mixed4b/97"]),
        ("97-98 4b", ["#mixed4b/97", "#mixed4b/98"]),
        ("mixed9", []),
    ],
)
def test_search(visit, gallery, words, found):
    tab = visit(gallery)
    tab.keyboard.press("/")
    tab.keyboard.type(words)
    assert shown(tab) == found
    assert tab.get_by_role("status").first.inner_text() == f"{len(found)} of 50 channels"
    assert tab.locator(".nothing").is_visible() == (not found)
    assert tab.locator("main h2").locator("visible=true").count() == len({link.split("/")[0] for link in found})
    tab.keyboard.press("Escape")
    assert len(shown(tab)) == 50


def test_the_keyboard_reaches_every_picture(visit, gallery):
    tab = visit(gallery)
    tab.keyboard.press("/")
    tab.keyboard.type("4a")
    tab.keyboard.press("Enter")
    assert focused(tab) == "#mixed4a/95"
    columns = tab.evaluate("getComputedStyle(document.querySelector('.grid')).gridTemplateColumns.split(' ').length")
    assert 3 < columns < 12
    for key, channel in (
        ("ArrowLeft", 95),
        ("ArrowRight", 96),
        ("ArrowDown", 96 + columns),
        ("ArrowRight", 97 + columns),
        ("ArrowUp", 97),
        ("ArrowUp", 97),
    ):
        tab.keyboard.press(key)
        assert focused(tab) == f"#mixed4a/{channel}"
    tab.keyboard.press("Enter")
    assert address(tab) == "#mixed4a/97"
    assert tab.get_by_role("dialog", name="mixed4a 97").is_visible()
    for key, channel in (
        ("ArrowRight", 98),
        ("ArrowLeft", 97),
        ("ArrowLeft", 96),
        ("ArrowLeft", 95),
        ("ArrowLeft", 119),
    ):
        tab.keyboard.press(key)
        assert address(tab) == f"#mixed4a/{channel}"  # of those that match the search
    tab.keyboard.press("Escape")
    tab.wait_for_function("location.hash === ''")
    assert tab.get_by_role("dialog").count() == 0
    assert focused(tab) == "#mixed4a/119"


def test_arrows_cross_from_layer_to_layer_and_tab_passes_the_grid_in_one_step(visit, gallery):
    tab = visit(gallery)
    tab.locator('.tile[href="#mixed4a/119"]').focus()
    tab.keyboard.press("ArrowDown")
    assert focused(tab).startswith("#mixed4b/")
    tab.keyboard.press("ArrowUp")
    assert focused(tab).startswith("#mixed4a/")
    assert tab.locator('.tile[tabindex="0"]').count() == 1
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_view_of_a_channel_shows_all_there_is(visit, gallery):
    tab = visit(gallery)
    tab.locator('.tile[href="#mixed4a/97"]').click()
    view = tab.get_by_role("dialog", name="mixed4a 97")
    assert tab.title() == "mixed4a 97 · A gallery"
    large = view.locator(".large figure")
    assert large.all_inner_texts() == ["positive 104", "negative -105"]
    boxes = [large.nth(i).bounding_box() for i in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"]  # side by side
    assert boxes[0]["width"] == boxes[1]["width"] > 300
    assert view.locator(".diverse figure").count() == 2
    assert view.locator(".examples figure").all_inner_texts() == [f"photos/dog {i}.jpg {3.5 - i:g}" for i in range(3)]
    tab.wait_for_function("[...document.querySelectorAll('.view img')].every(i => i.complete && i.naturalWidth)")
    curve = view.get_by_role("img", name="Course of the objective")
    assert "positive from 97 to 104; negative from -98 to -105" in curve.get_attribute("aria-label")
    assert curve.locator("path").count() == 4
    heights = re.findall(r"[ML][\d.]+ ([\d.]+)", curve.locator("path").first.get_attribute("d"))
    assert len(heights) == 8
    assert [float(y) for y in heights] == sorted(map(float, heights), reverse=True)  # it rises
    assert curve.locator("text").last.text_content() == "128 steps"
    assert "bvlc_googlenet@e87c85cf2e01" in view.locator(".facts").inner_text()
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    view.get_by_role("button", name="Copy").click()
    view.get_by_text("Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == "lightjax render 'mixed4a:97' --steps 128"
    view.get_by_role("button", name="Next channel").click()
    assert tab.locator(".view h2").inner_text() == "mixed4a 98"
    assert not tab.locator(".view section:is(.diverse, .examples)").locator("visible=true").count()
    assert tab.locator(".copied").inner_text() == ""


def test_figures_sort_the_tiles_of_each_layer_and_show_in_tiles_and_view(visit, tmp_path):
    ranks = {1: 4, 2: 0, 3: None, 4: 10}
    entries = [
        entry(tmp_path, layer, channel, figures={} if rank is None else {"rank": rank, "slope": -channel / 3})
        for layer in ("a", "b")
        for channel, rank in ranks.items()
    ]
    tab = visit(write(tmp_path, entries), "#b/1")
    assert tab.locator(".figures").inner_text().split("\n")[1:4] == [
        "rank",
        "4",
        "units of the layer that the picture excites more, each over noise: 0 is the best",
    ]
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert tab.locator(".figures").is_hidden(), "channel 3 was not measured"
    tab.keyboard.press("Escape")
    order = tab.get_by_label("Order of the pictures")
    assert order.locator("option").all_inner_texts()[:3] == [
        "by channel",
        "rank, smallest first",
        "rank, largest first",
    ]
    order.select_option(label="rank, smallest first")
    assert shown(tab) == [f"#{layer}/{channel}" for layer in "ab" for channel in (2, 1, 4, 3)]
    assert tab.locator(".tile span").all_inner_texts()[:4] == ["2 rank 0", "1 rank 4", "4 rank 10", "3"]
    tab.get_by_label("Search").fill("1-3")
    order.select_option(label="slope, largest first")
    assert shown(tab) == [f"#{layer}/{channel}" for layer in "ab" for channel in (1, 2, 3)]
    tab.locator(".tile >> nth=0").press("ArrowRight")
    assert focused(tab) == "#a/2"
    order.select_option(label="rank, largest first")
    tab.locator("[href='#a/2']").press("ArrowRight")
    assert focused(tab) == "#a/3"
    order.select_option(label="by channel")
    assert shown(tab) == [f"#{layer}/{channel}" for layer in "ab" for channel in (1, 2, 3)]
    assert tab.locator(".tile span").all_inner_texts()[:2] == ["1", "2"]


def test_a_gallery_without_figures_has_no_order(visit, gallery):
    tab = visit(gallery, "#mixed4a/97")
    assert tab.locator(".order, .figures").count() == 0


def test_a_link_leads_to_its_channel_and_closing_leads_to_its_layer(visit, gallery):
    tab = visit(gallery, "#mixed4b/101")
    assert tab.get_by_role("dialog", name="mixed4b 101").is_visible()
    tab.get_by_role("button", name="Close").click()
    tab.wait_for_function("location.hash === '#mixed4b'")
    assert focused(tab) == "#mixed4b/101"
    tab.evaluate("location.hash = '#mixed4a/97'")
    assert tab.get_by_role("dialog", name="mixed4a 97").is_visible()


def test_a_link_leads_to_its_layer(visit, gallery):
    tab = visit(gallery, "#mixed4b", height=300)
    tab.wait_for_function("scrollY > 100")
    top = tab.locator("main section").nth(1).bounding_box()["y"]
    assert top == pytest.approx(tab.locator("header").first.bounding_box()["height"], abs=2)
    tab.evaluate("scrollTo(0, 0)")
    tab.get_by_role("link", name="mixed4b 25").click()  # the same address again
    tab.wait_for_function("scrollY > 100")


def test_a_link_to_what_is_not_there_says_so(visit, gallery):
    tab = visit(gallery, "#mixed9z/%3Cb%3E")
    assert tab.get_by_role("status").first.inner_text() == "There is no mixed9z/<b> here"
    assert len(shown(tab)) == 50


def test_back_and_forward(visit, gallery):
    tab = visit(gallery)
    tab.get_by_role("link", name="mixed4b 25").click()
    tab.locator('.tile[href="#mixed4b/97"]').click()
    tab.keyboard.press("ArrowRight")
    tab.go_back()
    tab.wait_for_function("!document.querySelector('dialog[open]')")
    assert address(tab) == "#mixed4b"
    tab.go_forward()
    tab.get_by_role("dialog", name="mixed4b 98").wait_for()
    tab.keyboard.press("Escape")
    tab.wait_for_function("location.hash === '#mixed4b'")
    tab.go_back()
    tab.wait_for_function("location.hash === ''")


def test_the_view_keeps_the_focus_and_gives_it_back(visit, gallery):
    tab = visit(gallery)
    tab.locator('.tile[href="#mixed4a/97"]').focus()
    tab.keyboard.press("Enter")
    for _ in range(30):
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement === document.body || !!document.activeElement.closest('.view')")
    tab.keyboard.press("Escape")
    assert focused(tab) == "#mixed4a/97"
    tab.keyboard.press("?")
    assert tab.get_by_role("dialog", name="About this gallery").is_visible()
    tab.keyboard.press("Escape")
    assert focused(tab) == "#mixed4a/97"


def test_names_show_as_text(visit, tmp_path):
    examples = [{"file": picture(tmp_path, "e/1 #%41.png"), "value": 1.0, "source": NASTY[1]}]
    full = {"kinds": ("positive", "negative"), "place": "x #%41", "examples": examples}
    entries = [entry(tmp_path, name, 7, label=name, **full) | {"command": name} for name in NASTY]
    path = write(tmp_path, entries, title=NASTY[0], settings={name: name for name in NASTY})
    tab = visit(path)
    assert tab.title() == NASTY[0]
    assert tab.get_by_role("heading", level=1).inner_text() == NASTY[0]
    assert tab.locator("nav .name").all_inner_texts() == list(NASTY)
    for i, name in enumerate(NASTY):
        tab.locator(".tile").nth(i).click()
        assert tab.locator(".view h2").inner_text() == f"{name} 7 {name}"
        assert tab.locator(".command").inner_text() == name
        assert tab.locator(".examples figcaption").inner_text() == f"{NASTY[1]} 1"
        tab.wait_for_function("[...document.querySelectorAll('.view img')].every(i => i.complete && i.naturalWidth)")
        link = address(tab)
        tab.keyboard.press("Escape")
        tab.wait_for_function("location.hash === ''")
        assert visit(path, link).locator(".view h2").inner_text() == f"{name} 7 {name}"
    assert tab.locator("img[src=x]").count() == 0
    tab.keyboard.press("/")
    tab.keyboard.type("<script>alert(1)")
    assert len(shown(tab)) == 1


def test_no_script_runs_but_the_page_itself(chromium, gallery):
    with chromium.new_page() as tab:
        complaints = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.goto(gallery.as_uri())
        assert tab.get_by_role("status").first.inner_text() == "50 channels"  # its own ran
        assert not complaints
        tab.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
        }""")
        assert tab.evaluate("window.ran") is None
        assert "Content Security Policy" in complaints[0]


@pytest.mark.parametrize("fragment", ["", "#mixed4a/97"])
def test_on_a_phone_nothing_is_wider_than_the_screen(visit, gallery, fragment):
    tab = visit(gallery, fragment, width=360, height=740, phone=True)
    for box in ("document.documentElement", "document.querySelector('.view')"):
        assert tab.evaluate(f"{box}.scrollWidth <= 360")
    assert tab.evaluate("innerWidth") == 360
    tiles = tab.locator(".tile")
    assert tiles.nth(0).bounding_box()["y"] == tiles.nth(2).bounding_box()["y"]  # three or more in a row


def test_a_finger_turns_the_page(visit, gallery):
    tab = visit(gallery, "#mixed4a/97", width=360, height=740, phone=True)
    swipe = """([from, to]) => {
        const view = document.querySelector(".view");
        const touch = (x) => new Touch({ identifier: 1, target: view, clientX: x, clientY: 300 });
        view.dispatchEvent(new TouchEvent("touchstart", { touches: [touch(from)], changedTouches: [touch(from)] }));
        view.dispatchEvent(new TouchEvent("touchend", { touches: [], changedTouches: [touch(to)] }));
    }"""
    for way, link in (([300, 100], "#mixed4a/98"), ([100, 300], "#mixed4a/97"), ([100, 120], "#mixed4a/97")):
        tab.evaluate(swipe, way)
        assert address(tab) == link


def luminance(tab, selector: str, attribute: str) -> float:
    color = tab.evaluate(f"getComputedStyle(document.querySelector({selector!r}))[{attribute!r}]")
    channels = np.array([int(c) for c in re.findall(r"\d+", color)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_until_told_otherwise(visit, gallery, scheme):
    tab = visit(gallery, color_scheme=scheme)
    paper = luminance(tab, "html", "backgroundColor")
    assert (paper > 0.5) == (scheme == "light")
    for selector in ("h1", ".status", ".tile", ".count"):  # WCAG AA
        ink = luminance(tab, selector, "color")
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5
    button = tab.get_by_role("button", name="Theme: auto")
    button.click()
    assert luminance(tab, "html", "backgroundColor") > 0.5
    tab.get_by_role("button", name="Theme: light").click()
    assert luminance(tab, "html", "backgroundColor") < 0.5
    for _ in range(20):  # the browser stores it in its own time
        tab.wait_for_timeout(300)
        tab.reload()
        if stored := tab.get_by_role("button", name="Theme: dark").count():
            break
    assert stored


def test_everything_has_a_name(visit, gallery):
    tab = visit(gallery, "#mixed4a/97")
    assert tab.evaluate("""() => [...document.querySelectorAll("img")].every((i) => i.alt.trim())""")
    assert tab.evaluate("""() => [...document.querySelectorAll("button, a")].every((e) =>
        (e.getAttribute("aria-label") ?? e.textContent).trim() || e.querySelector("img")?.alt)""")
    assert tab.evaluate("""() => [...document.querySelectorAll("input, nav, section[aria-label], svg")].every((e) =>
        e.getAttribute("aria-label")?.trim())""")
    assert tab.evaluate("document.documentElement.lang") == "en"
    tab.keyboard.press("Escape")
    assert tab.get_by_role("link", name="mixed4a, channel 97").count() == 1
    assert tab.get_by_role("searchbox", name="Search layers and channels").count() == 1
    assert tab.get_by_role("navigation", name="Layers").count() == 1


def test_five_thousand_channels_open_fast_and_load_what_is_seen(visit, tmp_path):
    file = picture(tmp_path, "one.png")
    values = [float(v) for v in np.linspace(0, 300, 64)]
    entries = [
        {
            "layer": layer,
            "channel": channel,
            "pictures": [{"kind": kind, "file": f"./{'/' * channel}{file}", "values": values} for kind in KINDS],
            "command": f"lightjax render {layer}:{channel}",
        }
        for layer in ("mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed4e")
        for channel in range(1000)
    ]
    tab = visit(write(tmp_path, entries))
    ready, painted = tab.evaluate("""() => [
        performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd,
        performance.getEntriesByName("first-contentful-paint")[0].startTime,
    ]""")
    assert painted < ready < 6000  # about one second, on a machine with nothing else to do half of that
    tab.wait_for_function("[...document.images].some(i => i.complete && i.naturalWidth)")
    assert tab.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth).length") < 1000
    # Layers that are not on the screen take the room that they need, so links lead where they say.
    tab.evaluate("location.hash = '#mixed4e'")
    tab.wait_for_function("scrollY > 1000")
    heights = "[...document.querySelectorAll('main > section')].map(s => s.getBoundingClientRect().height)"
    guessed = tab.evaluate(heights)
    tab.add_style_tag(content="main > section { content-visibility: visible !important }")
    np.testing.assert_allclose(guessed, tab.evaluate(heights), rtol=1e-3)
    tab.keyboard.press("/")
    tab.keyboard.type("4c/999")
    assert shown(tab) == ["#mixed4c/999"]
