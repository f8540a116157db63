"""Orders, payments and wallets: a small domain in which messages flow. All recipes test it."""

from .domain import ordering

__all__ = ["ordering"]
