"""What ``--help`` prints: arguments and options as they are written, the same under every version of Typer.

The documentation of the command line is made of the same facts.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import typer.core


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a command: as it is written, what it means, its default."""

    written: str
    help: str
    default: Any
    required: bool


def parameters(function: Callable[..., Any]) -> tuple[list[Parameter], list[Parameter]]:
    """Arguments and options of a command."""
    hints = typing.get_type_hints(function, include_extras=True)
    arguments, options = [], []
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *extra = typing.get_args(hints[name])
        info = extra[0]
        required = parameter.default is inspect.Parameter.empty
        if type(info).__name__ == "ArgumentInfo":
            written = info.metavar or name.upper()
            written = written if required or written[0] == "[" else f"[{written}]"
            arguments.append(Parameter(written, info.help, parameter.default, required))
            continue
        # in Annotated[...] Typer takes the first name for the default
        first = [info.default] if isinstance(info.default, str) and info.default.startswith("-") else []
        names = [*first, *(info.param_decls or ())] or [f"--{name.replace('_', '-')}"]
        value = "" if kind is bool else " " + (info.metavar or _value(kind))
        options.append(Parameter(", ".join(names) + value, info.help, parameter.default, required))
    return arguments, options


def _value(kind: Any) -> str:
    kinds = {kind, *typing.get_args(kind)}
    return "N" if int in kinds else "X" if float in kinds else "TEXT"


def usage(name: str, arguments: Iterable[Parameter]) -> str:
    """How a command is written."""
    return " ".join(["mlipstore", name, *(a.written for a in arguments), "[options]"])


class Command(typer.core.TyperCommand):
    """A command whose help is made of :func:`parameters`."""

    def _parameters(self) -> tuple[list[Parameter], list[Parameter]]:
        assert self.callback is not None
        return parameters(inspect.unwrap(self.callback, stop=lambda f: hasattr(f, "__signature__")))

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the line that begins with Usage."""
        program, _, rest = usage(str(self.name), self._parameters()[0]).partition(" ")
        formatter.write_usage(program, rest)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options."""
        arguments, options = self._parameters()
        for title, some in (("Arguments", arguments), ("Options", options)):
            lines = [(p.written, _said(p)) for p in some]
            if title == "Options":
                lines.append(("-h, --help", "Show this message and exit."))
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


def _said(p: Parameter) -> str:
    if p.required:
        return f"{p.help}  [needed]" if p.written.startswith("-") else p.help
    return p.help if p.default in (None, False, "") else f"{p.help}  [default: {p.default}]"


class Commands(typer.core.TyperGroup):
    """The commands by what they are for, each with all of the sentence that says what it does."""

    sections: Sequence[tuple[str, Sequence[str]]] = ()

    @classmethod
    def with_sections(cls, sections: Sequence[tuple[str, Sequence[str]]]) -> type[Commands]:
        """The class for an application with these headings and commands below each."""
        return type(cls.__name__, (cls,), {"sections": sections})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write them as ``--help`` lists them."""
        listed = {name for _, names in self.sections for name in names}
        others = [name for name in self.commands if name not in listed]
        for title, names in (*self.sections, *([("Others", others)] if others else [])):
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(1000)) for name in names])
