"""The documentation holds together: links, anchors, the site's table of pages, the public names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import convscope

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
PAGES = sorted(DOCS.rglob("*.md"))
CODE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$|`[^`\n]*`", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """A page's text without its code, and with the files that it takes in."""
    text = page.read_text(encoding="utf-8")
    for name, part in re.findall(r'^--8<-- "([^":]+):?([^"]*)"$', text, flags=re.MULTILINE):
        taken = (ROOT / name).read_text(encoding="utf-8")
        if part and not part.startswith(tuple("0123456789")):
            taken = taken.partition(f"[start:{part}]")[2].partition(f"[end:{part}]")[0]
            assert taken, f"{page.name}: {name} has no part {part}"
        text += taken
    return CODE.sub("", text)


INCLUDED = re.compile(r'^--8<-- "([^":]+)[^"]*"$', re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown names them."""
    found: set[str] = set()
    text = re.sub(
        INCLUDED, lambda found: (ROOT / found[1]).read_text("utf-8"), page.read_text("utf-8")
    )
    without_fences = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    for heading in re.findall(r"^#+ +(.*)", without_fences, flags=re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading)
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        name = re.sub(r"[^\w\s-]", "", plain).strip().lower()
        name = stem = re.sub(r"[-\s]+", "-", name)
        number = 0
        while name in found:
            number += 1
            name = f"{stem}_{number}"
        found.add(name)
    return found


def entries(part: Any) -> Iterator[str]:
    """The pages of the site's navigation."""
    if isinstance(part, str):
        yield part
    else:
        for one in part.values() if isinstance(part, dict) else part:
            yield from entries(one)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{page.name}: {link}"
        assert DOCS in target.parents, f"{page.name}: {link} is no page of the site"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_is_in_the_navigation_once() -> None:
    listed = list(entries(SETTINGS["nav"]))
    assert sorted(listed) == [str(page.relative_to(DOCS)) for page in PAGES]


def test_every_public_name_is_on_a_page_of_the_reference() -> None:
    texts = "\n".join(page.read_text() for page in sorted((DOCS / "api").glob("*.md")))
    for name in convscope.__all__:
        if isinstance(getattr(convscope, name), convscope.Rules):
            assert re.search(rf"`(convscope\.)?{name}`", texts), name
        else:
            assert re.search(rf"^::: convscope\.(verbs\.)?{name}$", texts, re.MULTILINE), name
