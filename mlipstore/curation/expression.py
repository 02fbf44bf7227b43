"""The language of ``--where``: text into a tree of plain nodes. Nothing is executed; size and depth are bounded.

.. code-block:: text

    expression: or
    or:         and ("or" and)*
    and:        not ("and" not)*
    not:        "not" not | comparison
    comparison: sum ((== != < <= > >= | ["not"] in | ["not"] like) sum | "is" ["not"] "missing")*
    sum:        product (("+" | "-") product)*
    product:    sign (("*" | "/") sign)*
    sign:       "-" sign | value
    value:      number | "text" | 'text' | true | false | name | name "(" list ")" | "(" expression ")" | "(" list ")"
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import SettingsError

#: A longer text, or one that is nested deeper, is refused.
MOST_CHARACTERS, MOST_NESTED = 200_000, 40
#: Terms of one sum or product, and levels of the whole tree; each is a call on the stack of whoever walks through it.
MOST_TERMS, MOST_LEVELS = 100, 150
LONGEST_NAME = 200
COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_TESTS = {"or", "and", "not", "compare", "in", "like", "missing"}
WORDS = ("and", "or", "not", "in", "like", "is", "missing", "true", "false", "True", "False")
_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"""
    r"""|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<name>[^\W\d]\w*(?:\.(?:\w+|"[^"\\]*"))*)"""
    r"""|(?P<sign>==|!=|<=|>=|[-+*/<>(),\[\]])|(?P<other>[^\s\w]+|.)""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Node:
    """``kind``: or, and, not, compare, in, like, missing, arithmetic, negative, name, call, list, constant.

    :param value: operator, name, or the constant itself
    :param at: first character in the text, from 0
    """

    kind: str
    value: Any
    parts: tuple[Node, ...] = ()
    at: int = 0
    levels: int = field(init=False, compare=False)
    #: Whether there is a test in it, which makes it true or false.
    tests: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", 1 + max((p.levels for p in self.parts), default=0))
        object.__setattr__(self, "tests", self.kind in _TESTS or any(p.tests for p in self.parts))

    def names(self) -> Iterator[str]:
        """Columns that the expression reads."""
        if self.kind == "name":
            yield self.value
        for part in self.parts:
            yield from part.names()

    def calls(self) -> Iterator[str]:
        """Functions that the expression uses."""
        if self.kind == "call":
            yield self.value
        for part in self.parts:
            yield from part.calls()


class ExpressionError(SettingsError):
    """An expression cannot be read or does not make sense; names the place in it."""

    def __init__(self, message: str, text: str = "", at: int = 0) -> None:
        near = text[max(0, at - 20) : at + 20].strip()
        place = f" at character {at + 1:,} ({'end' if at >= len(text) else repr(near)})" if text else ""
        super().__init__(f"--where{place}: {message}")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """The tree of an expression.

    :raises ExpressionError: it is no expression; says where and what was expected
    """
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"{len(text):,} characters are too many; {MOST_CHARACTERS:,} are read.")
    if not text.strip():
        raise ExpressionError('the expression is empty. Write for instance group == "surface" and n_atoms > 20.')
    return _Parser(text).whole()


def _tokens(text: str) -> list[_Token]:
    out = []
    for m in _TOKEN.finditer(text):
        kind = str(m.lastgroup)
        if kind == "space":
            continue
        if kind == "other":
            raise ExpressionError(_foreign(m[0]), text, m.start())
        out.append(_Token(kind, m[0], m.start()))
    out.append(_Token("end", "", len(text)))
    return out


def _foreign(found: str) -> str:
    """What to write instead of something that is no part of the language."""
    if found[0] in "\"'":
        return "a text is not closed. Texts stand between two equal quotation marks."
    known = {"=": "==", "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not", "<>": "!=", "~": "not", "===": "=="}
    if found in known:
        return f"found {found!r}. Write {known[found]!r}."
    return f"{found[:20]!r} means nothing here. Known: {' '.join(COMPARISONS)} + - * / ( ) and {', '.join(WORDS)}."


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.i, self.depth = text, _tokens(text), 0, 0

    # ------------------------------------------------------------------ tokens
    @property
    def now(self) -> _Token:
        return self.tokens[self.i]

    def word(self, *words: str) -> bool:
        """Take a word or sign if it is the next one."""
        if self.now.kind in ("name", "sign") and self.now.text in words:
            self.i += 1
            return True
        return False

    def error(self, expected: str) -> ExpressionError:
        found = "the end" if self.now.kind == "end" else repr(self.now.text[:30])
        return ExpressionError(f"found {found}, expected {expected}.", self.text, self.now.at)

    def need(self, sign: str) -> None:
        if not self.word(sign):
            raise self.error(repr(sign))

    # ----------------------------------------------------------------- grammar
    def whole(self) -> Node:
        node = self.either()
        if self.now.kind != "end":
            raise self.error("and, or, a comparison, or the end")
        if node.levels > MOST_LEVELS:
            raise ExpressionError(f"it has more than {MOST_LEVELS} levels. Write it with fewer brackets.", self.text)
        return node

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MOST_NESTED:
            raise ExpressionError(f"it is nested deeper than {MOST_NESTED} levels.", self.text, self.now.at)

    def either(self) -> Node:
        self.deeper()
        at, parts = self.now.at, [self.both()]
        while self.word("or"):
            parts.append(self.both())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Node("or", "or", tuple(parts), at)

    def both(self) -> Node:
        at, parts = self.now.at, [self.negated()]
        while self.word("and"):
            parts.append(self.negated())
        return parts[0] if len(parts) == 1 else Node("and", "and", tuple(parts), at)

    def negated(self) -> Node:
        at = self.now.at
        if self.word("not"):
            self.deeper()
            node = Node("not", "not", (self.negated(),), at)
            self.depth -= 1
            return node
        return self.comparison()

    def comparison(self) -> Node:
        left = self.sum()
        links: list[Node] = []
        while True:
            at, sign = self.now.at, self.now.text
            compares = self.now.kind == "sign" and sign in COMPARISONS
            if links and left.tests and (compares or sign in ("is", "not", "in", "like")):
                # it would be evaluated twice, and what is in it four times ...
                raise ExpressionError("a test stands between two others. Join them by and.", self.text, at)
            if compares:
                self.i += 1
                right = self.sum()
                links.append(Node("compare", sign, (left, right), at))
                left = right  # 1 < x < 3 means 1 < x and x < 3
                continue
            if self.word("is"):
                no = self.word("not")
                self.need("missing")
                node = Node("missing", "missing", (left,), at)
                links.append(Node("not", "not", (node,), at) if no else node)
                continue
            no = self.word("not")
            if self.word("in"):
                node = Node("in", "in", (left, self.sum()), at)
            elif self.word("like"):
                node = Node("like", "like", (left, self.sum()), at)
            elif no:
                raise self.error("in or like after not")
            else:
                break
            links.append(Node("not", "not", (node,), at) if no else node)
        if not links:
            return left
        return links[0] if len(links) == 1 else Node("and", "and", tuple(links), links[0].at)

    def sum(self) -> Node:
        node = self.product()
        while self.now.kind == "sign" and self.now.text in "+-":
            at, sign = self.now.at, self.now.text
            self.i += 1
            node = self._chain(Node("arithmetic", sign, (node, self.product()), at))
        return node

    def product(self) -> Node:
        node = self.signed()
        while self.now.kind == "sign" and self.now.text in "*/":
            at, sign = self.now.at, self.now.text
            self.i += 1
            node = self._chain(Node("arithmetic", sign, (node, self.signed()), at))
        return node

    def _chain(self, node: Node) -> Node:
        """Refuse a sum or product that is too long: each term is a level of the tree."""
        levels, below = 0, node
        while below.kind == "arithmetic":
            levels, below = levels + 1, below.parts[0]
        if levels > MOST_TERMS:
            raise ExpressionError(f"more than {MOST_TERMS} terms of one sum or product.", self.text, node.at)
        return node

    def signed(self) -> Node:
        at = self.now.at
        if self.word("-"):
            self.deeper()
            node = Node("negative", "-", (self.signed(),), at)
            self.depth -= 1
            return node
        return self.value()

    def value(self) -> Node:
        token = self.now
        at = token.at
        if token.kind == "number":
            self.i += 1
            number = float(token.text)
            if not math.isfinite(number):
                raise ExpressionError("the number is too large.", self.text, at)
            return Node("constant", number, at=at)
        if token.kind == "text":
            self.i += 1
            return Node("constant", re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL), at=at)
        if self.word("true", "false", "True", "False"):
            return Node("constant", token.text.lower() == "true", at=at)
        if token.kind == "name" and token.text not in WORDS:
            self.i += 1
            if len(token.text) > LONGEST_NAME:
                raise ExpressionError(f"a name of {len(token.text):,} characters is no column.", self.text, at)
            if self.word("("):
                return Node("call", token.text, self.listed(")"), at)
            return Node("name", token.text.replace('"', ""), at=at)
        if self.word("["):
            return Node("list", "list", self.listed("]"), at)
        if self.word("("):
            parts = self.listed(")")
            single = len(parts) == 1 and self.tokens[self.i - 2].text != ","
            return parts[0] if single else Node("list", "list", parts, at)
        raise self.error("a column, a number, a text in quotation marks, or (")

    def listed(self, end: str) -> tuple[Node, ...]:
        """Expressions between commas up to a closing bracket."""
        parts: list[Node] = []
        while not self.word(end):
            parts.append(self.either())
            if not self.word(","):
                self.need(end)
                break
        return tuple(parts)
