"""Check that every link inside the built site leads to a page, and to a place on it that exists.

python docs/check_links.py docs/_build/html
"""

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup


def read(page):
    """Return the ids on a page, and what it links to."""
    soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
    ids = {tag["id"] for tag in soup.find_all(id=True)}
    links = {
        tag.get("href") or tag.get("src") for tag in soup.find_all(["a", "img", "link", "script"])
    }
    return ids, {link for link in links if link}


def main(folder):
    """Return how many links lead nowhere, after naming them."""
    files = (page for page in sorted(folder.rglob("*.html")) if "_static" not in page.parts)
    pages = {page.resolve(): read(page) for page in files}
    n_links = n_broken = 0
    for page, (_, links) in pages.items():
        for link in sorted(links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            n_links += 1
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            fragment = unquote(parts.fragment)
            known = target not in pages or not fragment or fragment in pages[target][0]
            if not (target.exists() and known):
                n_broken += 1
                print(f"{page.relative_to(folder.resolve())}: {link} leads nowhere")
    print(f"{n_links} links inside the site's {len(pages)} pages, {n_broken} of them broken")
    return n_broken


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) > 0)
