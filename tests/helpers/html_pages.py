"""Read a page, and hold what is true of every page that stands alone."""

import html.parser
import itertools
import re


class Page(html.parser.HTMLParser):
    """Read a page, and hold that each element that is opened is closed."""

    VOID = ("meta", "img", "br")
    INLINE = ("a", "bdi", "code", "small", "span", "strong")

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        self.part(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.part(tag)

    def part(self, tag):
        """Note that words before and after are apart."""
        if tag not in self.INLINE:
            self.words.append(" ")

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def checked_page(path):
    """Return a page, which must need no network, be small, and be read by anybody."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n")
    assert len(text) < 1_500_000
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len({*ids}) == len(ids)
    assert {attributes["href"][1:] for attributes in page.all("a")} <= {*ids}
    for tag, attributes in page.elements:
        for name in {"src", "href"} & set(attributes):
            assert re.match("data:image/|#", attributes[name]), (tag, attributes)
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"@import|url\(", text)
    assert all(attributes["alt"] for attributes in page.all("img"))
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    return page
