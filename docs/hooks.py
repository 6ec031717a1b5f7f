"""What the site adds to the pages in docs/: pages from elsewhere, with links that fit."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ELSEWHERE = {  # pages by their place in the repository
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "src/neuvid/weights/README.md": "weights.md",
}
EXAMPLES = [path for path in (DOCS.parent / "examples").iterdir() if path.is_file()]
PLACES = {page: place for place, page in ELSEWHERE.items()}
FOLDERS = ("experiments", "decisions")
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#]+)")


def on_config(config: MkDocsConfig) -> None:
    """Put all pages of the folders into the navigation."""
    for folder in FOLDERS:
        pages = sorted((DOCS / folder).glob("*.md"), key=lambda page: (page.stem != "README", page))
        names = [page.relative_to(DOCS).as_posix() for page in pages]
        config.nav.append({folder.capitalize(): names})  # type: ignore[union-attr]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages from elsewhere, and the examples as they are."""
    examples = {f"examples/{path.name}": f"examples/{path.name}" for path in EXAMPLES}
    for place, page in (ELSEWHERE | examples).items():
        files.append(File.generated(config, page, content=(DOCS.parent / place).read_text()))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to places in the repository into links to pages."""
    name = page.file.src_uri
    here = PurePosixPath(PLACES.get(name, f"docs/{name}")).parent

    def page_of(link: re.Match[str]) -> str:
        place = normpath(str(here / link[1]))
        if (DOCS.parent / place).is_dir():
            place += "/README.md"
        target = ELSEWHERE.get(place, place.removeprefix("docs/"))
        return relpath(target, PurePosixPath(name).parent)

    return LINK.sub(page_of, markdown)
