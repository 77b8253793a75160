"""A page of a report as tags and text, and what must hold for all of them."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "line", "circle", "rect", "path"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; complains about tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def assert_harmless(self) -> None:
        """Fail when the page loads, runs or links to anything."""
        policy = next(
            a["content"] for tag, a in self.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
        )
        assert policy is not None
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not any(tag == "script" for tag, _ in self.tags)
        for _, attributes in self.tags:
            assert "style" not in attributes  # the policy would refuse it
            assert not any(name.startswith("on") for name in attributes)
            assert not attributes.keys() & {"src", "srcset", "xlink:href"}
            assert (attributes.get("href") or "#").startswith("#")
