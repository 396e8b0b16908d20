"""What the site takes from elsewhere in the checkout: the notebooks, the tables of speed, the list of changes."""

from pathlib import Path

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
LINKS = {
    "docs/": "",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "lightjax/data/bvlc_googlenet.md": "googlenet.md",
}
"""Where the site has what the README links to."""


@event_priority(100)  # before the plugin that turns notebooks into pages
def on_files(files, config):
    """Add the notebooks and the pages; leave out the code."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(File(f"notebooks/{path.name}", str(ROOT), config.site_dir, config.use_directory_urls))
    for path in sorted((ROOT / "benchmarks").glob("*.jpg")):
        files.append(File.generated(config, path.name, abs_src_path=str(path)))
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for here, there in LINKS.items():
        page = page.replace(f"]({here}", f"]({there}")
    files.append(File.generated(config, "index.md", content=page))
    speed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").replace("](../docs/", "](")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "benchmarks.md", content=speed))
    files.append(File.generated(config, "changes.md", content=changes))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "contributing.md", content=contributing.replace("CHANGELOG.md", "changes.md")))
    card = (ROOT / "lightjax" / "data" / "bvlc_googlenet.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "googlenet.md", content=card))
    for name in ("hooks.py", "signatures.py"):
        files.remove(files.get_file_from_path(name))
    return files


def on_post_page(output, page, config):
    """Load the script that lets search work from disk out of the site, not from elsewhere."""
    up = "../" * page.file.dest_uri.count("/")
    return output.replace("https://unpkg.com/iframe-worker/shim", f"{up}assets/iframe-worker.js")


def on_page_markdown(markdown, page, config, files):
    """Point to the pages of the site that stand elsewhere in the checkout."""
    return markdown.replace("](../lightjax/data/bvlc_googlenet.md)", "](googlenet.md)")
