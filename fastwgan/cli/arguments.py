"""Parsing a command line into one sentence where it is wrong."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, NoReturn


class CommandError(Exception):
    """Ends the command with one sentence and an exit status."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage in front of it."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with status 2."""
        sentence = message.removeprefix("argument ").replace(": was ", " was ", 1)
        speaks = os.environ.get("LOCAL_RANK", "0") == "0"  # one of torchrun's processes a machine
        self.exit(2, f"{self.prog}: {sentence}\n" if speaks else None)


def option(name: str) -> str:
    """The option of a setting's name."""
    return "--" + name.replace("_", "-")


def _number(kind: Callable[[str], Any], expected: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"was {text!r}; it must be {expected}.") from None

    return parse


whole_number = _number(int, "a whole number")
number = _number(float, "a number")


def count(text: str) -> int:
    """A whole number of at least 1."""
    value: int = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"was {text!r}; it must be at least 1.")
    return value
