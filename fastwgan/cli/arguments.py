"""Parsing a command line into one sentence where it is wrong."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastwgan.train import TrainConfig
from fastwgan.train.suggestions import nearest


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

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Ends the process at arguments that aren't any, with the option that may be meant."""
        options = [text for text in self._option_string_actions if text.startswith("--")]
        first = unknown[0].partition("=")[0]
        hint = nearest(first, options) if first.startswith("-") else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def option(name: str) -> str:
    """The option of a setting's name."""
    return "--" + name.replace("_", "-")


def with_options(sentence: str) -> str:
    """A sentence of the library as the command says it: `penalty_weight` is --penalty-weight."""
    names = [field.name for field in dataclasses.fields(TrainConfig) if "_" in field.name]
    return re.sub(rf"\b({'|'.join(names)})\b", lambda found: option(found[1]), sentence)


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
