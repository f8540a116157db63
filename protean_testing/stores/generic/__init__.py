"""Databases without a backend of their own, MySQL and MariaDB among them."""

from .backend import GenericBackend

__all__ = ["GenericBackend"]
