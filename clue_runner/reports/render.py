"""Renders templates to pages: one self-contained file without network access.

In: a template's name, its content, a language. Out: HTML. Every value is escaped; the page's own script is
allowed by its hash in the page's policy, so that an injected script could not run.
Knows nothing about what is shown.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clue_runner.config.shipped import PACKAGE
from clue_runner.reports.words import Language, namer, speaker

FOLDER = PACKAGE / "reports" / "templates"


def render(template: str, page: object, language: Language) -> str:
    """Return a page.

    Args:
        template: name of a file in the folder of templates.
        page: its content.
        language: that of the page's own words.
    """
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(template)
        .render(
            page=page,
            language=language,
            say=speaker(language),
            named=namer(language),
            style=Markup(style),  # ours, not a user's
            script=Markup(script),
            script_hash=digest,
            version=_version(),
        )
    )


@cache
def _environment() -> Environment:
    """Return the templates; an undefined name fails instead of showing nothing."""
    return Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def _version() -> str:
    """Return the version of the program."""
    try:
        return version("clue-runner")
    except PackageNotFoundError:
        return "(not installed)"
