"""The page `teach.md`: times, goals and slides of the lectures, for who teaches from the book."""

import re
from pathlib import Path

from book.slides import read_lectures

BOOK = Path(__file__).parents[1]
PROMISE = re.compile(r"\*\*You will learn\*\* (.*?)\n\n", re.DOTALL)


def goal(name: str) -> str:
    """What a chapter says that one will learn."""
    found = PROMISE.search((BOOK / f"{name}.md").read_text())
    if found is None:
        raise ValueError(f"{name}.md does not say what one will learn")
    return " ".join(found[1].split())


def page() -> str:
    """The page as MyST text."""
    parts = [HEAD]
    for number, lecture in enumerate(read_lectures(), 1):
        minutes = lecture["pages"]
        rows = [
            f"| {{doc}}`{name}` | {minutes[name]} | {goal(name)} |"
            for name in minutes
        ]
        slides = f'<a href="../lectures/{lecture["name"]}.html">Slides</a>'
        parts.append(
            f"### {number}. {lecture['title']}\n\n{slides}, {sum(minutes.values())} minutes.\n\n"
            "| Chapter | Minutes | Afterwards one knows |\n|---|---|---|\n"
            + "\n".join(rows)
        )
    return "\n\n".join([*parts, TAIL])


HEAD = """\
# Teach with it

Three lectures of 90 minutes, or one class of as many. It takes calculus and a first course in machine learning; the first
lecture takes neither.

## Lectures

The slides are cut from the chapters: what a chapter promises, its questions, figures and formulas, and its summary. Figures move on a slide as they do on
the page, questions are marked as there, and *S* opens the speaker's notes, which are what the page says beside the figure. They need no
network."""
TAIL = """\
## A class of 90 minutes

{doc}`playground` (15 minutes), {doc}`see_the_biases` (20), *You are B* in {doc}`two_networks` (15), {doc}`watch_the_bias` (20), and the questions
at the end of {doc}`limits` (20). Everybody has the pages open; nobody needs a kernel.

## Exercises

Each chapter has three or four, of which the code is checked where it is written, and a question that the page marks. {doc}`solutions` stand apart.
In the notebooks, `face2exp_lib` is imported and never redefined, so what students write is short.

## Before you use real faces

{doc}`limits` has questions about consent, about annotators who disagree and about the law. The faces of this book are rendered, so that a class can look
at mistakes without looking at anybody.
"""
