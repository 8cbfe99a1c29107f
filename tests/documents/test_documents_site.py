"""The site of the sample has every advisory on the page of its package, and no broken link."""

from __future__ import annotations

from support.published_set import PublishedSet
from support.site_rows import Page, find_broken_links


def test_every_advisory_is_once_on_the_page_of_its_package(published: PublishedSet) -> None:
    pages = [Page(file) for file in (published.directory / "site/packages").iterdir()]

    found = [(page.heading.lower(), entry) for page in pages for entry in page.entries]

    assert sorted(found) == sorted(published.envelope())


def test_every_link_of_the_site_leads_to_a_file_of_the_set(published: PublishedSet) -> None:
    site = published.directory / "site"

    assert list(find_broken_links(site)) == []


def test_every_page_links_the_csaf_document_of_its_package(published: PublishedSet) -> None:
    pages = [Page(file) for file in (published.directory / "site/packages").iterdir()]

    texts = {
        page.heading: (page.file.parent / url).read_text(encoding="utf-8")
        for page in pages
        for url in page.urls
        if "/csaf/" in url
    }

    assert len(texts) == len(pages)
    assert all(f'states in {name}"' in text for name, text in texts.items())
