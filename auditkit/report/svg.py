"""Inline SVG, drawn element by element; every text and attribute value is escaped.

These drawings are what a report shows where scripts are off, on paper, and in any program that displays a
notebook but has no chart library. Colours are CSS classes, so that light, dark and print choose their own.
"""

from __future__ import annotations

from markupsafe import Markup, escape


class Drawing:
    """A picture of *width* × *height* units, described for those who cannot see it by *summary*."""

    def __init__(self, width: float, height: float, summary: str) -> None:
        self.width, self.height, self.summary = width, height, summary
        self.parts: list[Markup] = []

    def element(
        self, tag: str, text: str | None = None, *, title: str | None = None, **attributes: object
    ) -> None:
        """Add one element; ``klass`` and ``text_anchor`` become ``class`` and ``text-anchor``."""
        pairs = {
            {"klass": "class"}.get(name, name.replace("_", "-")): f"{value:g}"
            if isinstance(value, float)
            else value
            for name, value in attributes.items()
        }
        inside = Markup("<title>{}</title>").format(title) if title else Markup("")
        if text is not None:
            inside += escape(text)
        written = Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in pairs.items())
        self.parts.append(Markup("<{tag}{}>{}</{tag}>").format(written, inside, tag=tag))

    def text(
        self, x: float, y: float, text: str, *, klass: str = "", anchor: str = "start", limit: int = 0
    ) -> None:
        """Add a text, cut to *limit* characters with the whole in its tooltip."""
        short = text if not limit or len(text) <= limit else text[: limit - 1] + "…"
        self.element(
            "text", short, title=None if short == text else text, x=x, y=y, klass=klass, text_anchor=anchor
        )

    def __html__(self) -> str:
        return Markup(
            '<svg class="drawing" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{s}">{p}</svg>'
        ).format(w=f"{self.width:g}", h=f"{self.height:g}", s=self.summary, p=Markup("").join(self.parts))
