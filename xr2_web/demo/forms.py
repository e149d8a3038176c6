"""Read the forms of a page, as a browser does. No I/O happens here."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(frozen=True, slots=True)
class Form:
    """A form: where it goes (empty: to its own page), and its fields that the page has filled in."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        elif tag == "input" and self.forms and given.get("value") and "name" in given:
            self.forms[-1].fields[given["name"]] = given["value"]


def read_forms(page: str) -> list[Form]:
    """Return the forms of an HTML page in their order."""
    reader = _Reader()
    reader.feed(page)
    return reader.forms
