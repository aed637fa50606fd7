"""Twins: stand-ins for operations whose own double backward does more than the mathematics asks.

A twin has its operation's value and its derivatives of every order. It returns NotImplemented for
any call that it does not cover, and the plain operation runs instead. Linear layers, dropout,
padding by zeros, upsampling, reductions and reshapes need none: autograd's own is minimal.
"""

from fastwgan.engine.twins.mode import TWINS, Twins

__all__ = ["TWINS", "Twins"]
