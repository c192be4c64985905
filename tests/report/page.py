"""A rendered report read back with the standard library's parser: elements, texts, and whether every tag is closed."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}


@dataclass
class Element:
    """One element with its attributes, children and text in order."""

    tag: str
    attributes: dict[str, str]
    content: list[Element | str] = field(default_factory=list)

    def all(self, tag: str, **wanted: str) -> list[Element]:
        """Elements below this one, by tag and by words of their attributes (`class_="hit"`)."""
        found = []
        for child in self.content:
            if isinstance(child, Element):
                named = tag in (child.tag, "*")
                if named and all(
                    word in child.attributes.get(key.strip("_"), "").split() for key, word in wanted.items()
                ):
                    found.append(child)
                found += child.all(tag, **wanted)
        return found

    def one(self, tag: str, **wanted: str) -> Element:
        """The only such element."""
        (found,) = self.all(tag, **wanted)
        return found

    @property
    def text(self) -> str:
        """What a reader sees, with spaces made single."""
        return " ".join(self._words().replace("\u202f", " ").replace("\xa0", " ").split())

    @property
    def raw(self) -> str:
        """Text exactly as written."""
        return self._words()

    def _words(self) -> str:
        return "".join(child if isinstance(child, str) else child._words() for child in self.content)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {})
        self.stack = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(element.attributes) == len(attrs), f"an attribute twice in <{tag}>"
        self.stack[-1].content.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].content.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack[-1].tag == tag, f"</{tag}> closes <{self.stack[-1].tag}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.stack[-1].content.append(data)


def read(html: str) -> Element:
    """The page as a tree; fails when a tag is not closed where it should be."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert [element.tag for element in reader.stack] == ["root"], "a tag is left open"
    return reader.root


def visible(page: Element) -> str:
    """All that can be read or heard on the page: text and alternative texts, not the records or styles."""
    body = page.one("body")
    shown = [child for child in body.content if not (isinstance(child, Element) and child.tag == "script")]
    heard = [element.attributes[name] for element in page.all("*") for name in ("alt", "aria-label", "title")
             if name in element.attributes]  # fmt: skip
    return Element("body", {}, [*shown, " ", " ".join([*heard, page.one("head").one("title").text])]).text
