"""The command line of a magic: words, options and `KEY=EXPR`, where EXPR is Python and may hold blanks."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from mlops_nb.errors import InvalidInput, did_you_mean

_ASSIGNMENT = re.compile(r"([\w./:-]+)=(?!=)")
_OPTION = re.compile(r"--?[A-Za-z][\w-]*(?=[\s=]|$)")
_OPENING, _CLOSING = "([{", ")]}"


def split_words(line: str, expression_options: Sequence[str] = ("--step",)) -> list[str]:
    """Split a line at blanks, but not within quotes, brackets or an expression.

    An expression (what follows `KEY=`, or an option of `expression_options`) ends where the next `KEY=` or option begins.

    Raises:
        InvalidInput: If a quote or a bracket is not closed.
    """
    words: list[str] = []
    start, depth, quote, i = 0, 0, "", 0
    line = line.strip()
    while i <= len(line):
        c = line[i] if i < len(line) else ""
        if quote:
            if c == "":
                raise InvalidInput(f"The quote {quote} is not closed: {line}")
            if c == "\\":
                i += 1
            elif c == quote:
                quote = ""
        elif c and c in "'\"":
            quote = c
        elif c and c in _OPENING:
            depth += 1
        elif c and c in _CLOSING:
            depth = max(0, depth - 1)
        elif c == "" or c.isspace():
            if c == "" and depth:
                raise InvalidInput(f"A bracket is not closed: {line}")
            rest = line[i:].lstrip()
            word = line[start:i]
            in_expression = _ASSIGNMENT.match(word) or (words and words[-1] in expression_options)
            begins_new = not rest or _ASSIGNMENT.match(rest) or _OPTION.match(rest)
            if depth == 0 and (begins_new or not in_expression):
                if word:
                    words.append(word)
                start = i + len(line[i:]) - len(rest)
                i = start
                if not rest:
                    break
                continue
        i += 1
    return words


def split_assignment(word: str) -> tuple[str, str] | None:
    """Return (key, expression) of `KEY=EXPR`, or None for another word."""
    match = _ASSIGNMENT.match(word)
    return (match[1], word[match.end() :]) if match else None


def unquoted(word: str) -> str:
    """Return a word without the quotes around it."""
    return word[1:-1] if len(word) >= 2 and word[0] == word[-1] and word[0] in "'\"" else word


def joined(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the words with `--sort -val_auc` as one, for options whose values may begin so: argparse would take them for options."""
    found: list[str] = []
    for word in words:
        if found and found[-1] in options and word.startswith("-"):
            found[-1] = f"{found[-1]}={word}" if found[-1].startswith("--") else f"{found[-1]}{word}"
        else:
            found.append(word)
    return found


class MagicParser(argparse.ArgumentParser):
    """An argument parser that raises our errors, with a guess, and never ends the kernel.

    Attributes:
        examples: Lines to show in the help.
    """

    def __init__(self, prog: str, description: str = "", examples: Sequence[str] = ()) -> None:
        super().__init__(prog=prog, description=description, add_help=False, allow_abbrev=False)
        self.examples = list(examples)

    @property
    def arguments(self) -> Sequence[argparse.Action]:
        """What it takes: options, and by their order what has none."""
        return self._actions

    def help_text(self) -> str:
        """Return what it does, what it takes, and examples."""
        rows = [(", ".join(a.option_strings) or str(a.metavar or a.dest), _value_of(a), a.help or "") for a in self._actions]
        shown = [(f"{name} {value}".strip(), text) for name, value, text in rows]
        width = max((len(name) for name, _ in shown), default=0)
        lines = [f"{self.prog}: {self.description}", "", *(f"  {name:<{width}}  {text}".rstrip() for name, text in shown)]
        return "\n".join([*lines, "", "Examples:", *(f"  {example}" for example in self.examples)])

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the process."""
        message = message.replace("expected one argument", "needs a value")
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        options = [option for action in self._actions for option in action.option_strings]
        hint = did_you_mean(unknown[1], options) if unknown else None
        if choice := re.search(r"(\S+): invalid choice: '([^']*)' \(choose from (.*)\)", message):
            choices = [word.strip("' ") for word in choice[3].split(",")]
            message = f"{choice[1]} cannot be '{choice[2]}'"
            hint = did_you_mean(choice[2], choices) or f"Use {', '.join(choices)}."
        raise InvalidInput(f"{self.prog}: {message}.", hint=hint or f"Usage: {' '.join(self.format_usage().split()[1:])}")


def _value_of(action: argparse.Action) -> str:
    if not action.option_strings or action.nargs == 0:
        return ""
    return "|".join(action.choices) if action.choices else str(action.metavar or "")
