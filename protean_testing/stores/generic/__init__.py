"""Databases without a keeper of their own, MySQL and MariaDB among them."""

from .keeper import GenericKeeper

__all__ = ["GenericKeeper"]
