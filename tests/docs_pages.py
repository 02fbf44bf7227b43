"""What stands in the documentation: fenced blocks, links, headings; and the generator of its generated parts."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md"]
_FENCE = re.compile(r"^( *)```(.*)$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: the language or other words behind the fence, its text, and where it stands."""

    info: str
    text: str
    place: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    inside: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif inside is None:
            inside, lines = (fence[1], fence[2].strip(), number), []
        else:
            indent, info, first = inside
            text = "\n".join(x.removeprefix(indent) for x in lines)
            yield Block(info, text + "\n", f"{page.relative_to(ROOT)}, line {first}")
            inside, lines = None, []
    assert inside is None, f"{page}: a block that is not closed"


def all_blocks(info: str) -> list[Block]:
    """The blocks of all pages with this language."""
    return [b for page in PAGES for b in blocks(page) if b.info == info]


def prose(page: Path) -> str:
    """The text of a page outside of fenced blocks and code spans."""
    out, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            out.append(re.sub(r"`+[^`]*`+(?!\])", "", line) if "](" not in line else line)
    return "\n".join(out)


def links(page: Path) -> list[str]:
    """Targets of the links and pictures of a page."""
    return [a or b for a, b in _LINK.findall(prose(page))]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE)
    raw = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in [*headings, *raw]}


def commands(block: Block) -> Iterator[list[str]]:
    """The words of every ``mlipstore`` command of a console block."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    for line in text.splitlines():
        if not line.startswith("$ "):
            continue
        words = shlex.shlex(line[2:], posix=True, punctuation_chars="|&;<>")
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, "&&"]:
            if set(word) <= set("|&;<>"):
                while command and re.fullmatch(r"\w+=.*", command[0]):
                    command.pop(0)
                if command and command[0] == "mlipstore":
                    yield command[1:]
                command = []
            else:
                command.append(word)


def generator() -> ModuleType:
    """The module ``docs/generate.py``."""
    if "docs_generate" not in sys.modules:
        spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
        assert spec is not None and spec.loader is not None
        before = list(sys.path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["docs_generate"] = module
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path[:] = before
    return sys.modules["docs_generate"]
