"""Links from words to the glossary: on each page the first use of a term leads to what it means.

A Sphinx extension that `_config.yml` names. The terms are those that `glossary.md` defines, so a
new one is linked on every page without a change there. Headings, code, formulas, captions, tables
and what is a link already stay as they are.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx

GLOSSARY = Path(__file__).with_name("glossary.md")
RUNNING_TEXT = nodes.paragraph
WITHIN = (nodes.emphasis, nodes.strong)
NOT_IN = (nodes.entry, nodes.caption, nodes.legend, nodes.topic)
PAGES_WITHOUT = ("book/glossary", "book/api", "book/bibliography")


def terms(text: str) -> list[str]:
    """The terms that a page's glossary directive defines, longest first.

    Args:
        text: of the page.
    """
    _, body = text.split("```{glossary}\n", 1)
    body, _ = body.split("```", 1)
    return sorted(re.findall(r"^(\S.*)$", body, re.MULTILINE), key=len)[::-1]


def pattern(words: list[str]) -> re.Pattern[str]:
    """Whole words, in the singular or with an s; small letters may be capitals at the begin of a
    sentence, capitals are capitals."""

    def either(word: str) -> str:
        first = word[0]
        return (
            f"[{first}{first.upper()}]{re.escape(word[1:])}"
            if first.islower()
            else re.escape(word)
        )

    found = "|".join(map(either, words))
    return re.compile(rf"(?<![\w-])({found})s?(?![\w-])")


class LinkFirstUses(SphinxTransform):
    """Of every term on a page."""

    default_priority = 880  # late: titles, footnotes and references are made

    def apply(self, **kwargs: Any) -> None:
        """Put a link in place of each term's first use."""
        if self.env.docname in PAGES_WITHOUT:
            return
        self.env.note_dependency(str(GLOSSARY))
        left = {word.lower(): word for word in terms(GLOSSARY.read_text())}
        for text in list(self.document.findall(nodes.Text)):
            if left and _is_prose(text):
                _link(text, left)


def _is_prose(text: nodes.Text) -> bool:
    node = text.parent
    while isinstance(node, WITHIN):
        node = node.parent
    if not isinstance(node, RUNNING_TEXT):
        return False
    while node is not None:
        if isinstance(node, NOT_IN) or "cell_output" in node.get("classes", ()):
            return False
        node = node.parent
    return True


def _link(text: nodes.Text, left: dict[str, str]) -> None:
    """Replace a text by itself with links, and take those terms from what is left to link."""
    words, parts, end = text.astext(), [], 0
    for match in pattern(list(left.values())).finditer(words):
        term = left.pop(match[1].lower(), None)
        if term is None:  # linked a few words before
            continue
        link = addnodes.pending_xref(
            "",
            nodes.inline("", match[0], classes=["std", "std-term"]),
            refdomain="std",
            reftype="term",
            reftarget=term,
            refexplicit=True,
            refwarn=True,
        )
        parts += [nodes.Text(words[end : match.start()]), link]
        end = match.end()
    if parts:
        parts.append(nodes.Text(words[end:]))
        text.parent.replace(text, parts)


def setup(app: "Sphinx") -> dict[str, Any]:
    """Sphinx extension."""
    app.add_transform(LinkFirstUses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
