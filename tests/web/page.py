"""A page read as a browser without JavaScript reads it: what it would send, what it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}


@dataclass
class Element:
    tag: str
    attrs: dict[str, str | None]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all_text(self) -> str:
        return (self.text + "".join(child.all_text() for child in self.children)).strip()

    def walk(self) -> list[Element]:
        return [self, *(each for child in self.children for each in child.walk())]

    def inside(self, tag: str, having: str = "") -> bool:
        above = self.parent
        while above is not None:
            if above.tag == tag and (not having or having in above.attrs):
                return True
            above = above.parent
        return False


class Page(HTMLParser):
    """`elements` of a page in order; what stands in `<template>` is not among them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Element("root", {})
        self._at = self.root
        self.feed(html)
        self.elements = [e for e in self.root.walk() if not e.inside("template")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), self._at)
        self._at.children.append(element)
        if tag not in _VOID:
            self._at = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._at.children.append(Element(tag, dict(attrs), self._at))

    def handle_endtag(self, tag: str) -> None:
        at: Element | None = self._at
        while at is not None and at.tag != tag:
            at = at.parent
        if at is not None and at.parent is not None:
            self._at = at.parent

    def handle_data(self, data: str) -> None:
        self._at.text += data

    def by_id(self, id: str) -> Element:
        return next(each for each in self.elements if each.attrs.get("id") == id)

    def fields(self) -> dict[str, str]:
        """The successful controls, as HTML has it: what pressing Start sends."""
        sent: dict[str, str] = {}
        for each in self.elements:
            name, off = each.attrs.get("name"), "disabled" in each.attrs
            if not name or off or each.inside("fieldset", "disabled"):
                continue
            if each.tag == "select":
                sent[name] = _selected(each)
            elif each.tag == "input" and (_ticked(each) or _is_text(each)):
                sent[name] = each.attrs.get("value") or ""
        return sent

    def errors(self) -> dict[str, str]:
        """Shown errors by the name of the control that they describe, of the chosen source."""
        shown = {
            each.attrs["id"]: each.all_text()
            for each in self.elements
            if "kale-error" in (each.attrs.get("class") or "") and "hidden" not in each.attrs
        }
        return {
            each.attrs["name"] or "": shown[slot]
            for each in self.elements
            for slot in (each.attrs.get("aria-describedby") or "").split()
            if slot in shown and each.attrs.get("name") and self._is_shown(each)
        }

    def _is_shown(self, control: Element) -> bool:
        """Whether the page's style shows it: `data-for` names the sources it belongs to."""
        volume = (control.attrs["name"] or "").rpartition(".")[0]
        chosen = self.fields().get(f"{volume}.source")
        above: Element | None = control
        while above is not None:
            belongs = (above.attrs.get("data-for") or "").split()
            if chosen and belongs and chosen not in belongs:
                return False
            above = above.parent
        return True


def _ticked(control: Element) -> bool:
    return control.attrs.get("type") in ("radio", "checkbox") and "checked" in control.attrs


def _is_text(control: Element) -> bool:
    return control.attrs.get("type", "text") in ("text", "hidden")


def _selected(select: Element) -> str:
    options = [each for each in select.walk() if each.tag == "option"]
    chosen = [each for each in options if "selected" in each.attrs] or options[:1]
    return (chosen[-1].attrs.get("value") or "") if chosen else ""
