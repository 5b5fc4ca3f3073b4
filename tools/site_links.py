"""Hook of the documentation site: a link out of docs/ to a file of the repository becomes plain text with its path.

A link to a file that is not there stays, and so the build refuses it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_OUTSIDE = re.compile(r"(!?)\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """The page with links that leave docs/ spelt out."""
    folder = Path(config["docs_dir"])

    def spelt(found: re.Match[str]) -> str:
        picture, text, target, _ = found.groups()
        path = (folder / target).resolve()
        if not path.exists():
            return found[0]
        name = path.relative_to(folder.parent.resolve()).as_posix()
        if picture:
            return f"({text or 'picture'}: `{name}`)"
        return f"`{name}`" if Path(text.strip("`")).name == Path(name).name else f"{text} (`{name}`)"

    return _OUTSIDE.sub(spelt, markdown)
