"""An application, served for real while tests run: what a browser or any HTTP client can drive."""

from .server import LiveServer

__all__ = ["LiveServer"]
