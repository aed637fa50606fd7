"""Runs a tape again, on other rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan.engine.layout import as_channels_last, fastest, is_channels_last
from fastwgan.engine.rules import RULES
from fastwgan.engine.tape import Block, Tape


def replay(tape: Tape, arguments: Sequence[Tensor]) -> Block:
    """The tape's tensors for other arguments.

    Args:
        tape: Of a replayable recording.
        arguments: As the recorded ones; with another number of rows where `is_row_wise`.
    """
    rows = arguments[0].shape[0]
    block = Block(tape, rows)
    block.values = [None] * tape.slots
    rows_first = fastest(arguments[0].detach(), convolved=is_convolved(tape))
    if is_channels_last(rows_first):
        block.constants = [as_channels_last(constant) for constant in tape.constants]
    for slot, argument in zip(tape.arguments, arguments, strict=True):
        block.values[slot] = argument.detach()
    block.values[tape.arguments[0]] = rows_first
    done = tape.done_after()
    with torch.no_grad():
        for index, node in enumerate(tape.nodes):
            block.saved.append(())
            site = block.site(index)
            options = site.options
            if rows != tape.rows:
                options = node.rule.row_option(options, rows)
            outputs, block.saved[index] = node.rule.forward(options, site.inputs)
            for slot, output in zip(node.outputs, outputs, strict=True):
                block.values[slot] = output
            del site, outputs
            for slot in done[index]:
                block.values[slot] = None
    return block


def is_row_wise(tape: Tape) -> bool:
    """Whether a replay on any number of rows gives each row what it gives alone."""
    for node in tape.nodes:
        if not node.row_wise:
            return False
        for position, reference in enumerate(node.inputs):
            if reference is None or reference >= 0 or position in node.rule.weights:
                continue
            outer = tape.outers[~reference]
            if outer.dim() and outer.shape[0] == tape.rows:
                return False
    return True


def is_convolved(tape: Tape) -> bool:
    """Whether 2D convolutions take part."""
    return any(node.rule is RULES[torch.conv2d] for node in tape.nodes)
