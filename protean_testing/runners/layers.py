"""A layer for zope.testrunner and for nose2's layers plugin: stores that several test classes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..blocks import test_database
from ..database import Block, Database
from ..hooks import Hook
from ..store import Store

if TYPE_CHECKING:
    from sqlalchemy import MetaData


class DatabaseLayer:
    """Base class of a layer. What its ``setUp`` writes after ``super().setUp()`` is there for every test.

    A test class names it, ``layer = ShopLayer``, and uses ``ShopLayer.db``. Layers may be based on layers.

    Attributes:
        stores: Metadata, stores and hooks, as for `test_database`.
        db: The handle on them.
    """

    if TYPE_CHECKING:
        stores: ClassVar[Sequence[MetaData | Store | Hook]]
    db: ClassVar[Database]
    _block: ClassVar[Block]
    _scope: ClassVar[Block]

    def __init_subclass__(cls) -> None:
        """nose2 calls what stands in a layer itself, and nothing that it inherits."""
        for name in ("setUp", "tearDown", "testSetUp", "testTearDown"):
            if name not in vars(cls):
                setattr(cls, name, classmethod(getattr(cls, name).__func__))

    @classmethod
    def setUp(cls) -> None:
        if "stores" in vars(cls):
            cls._block = test_database(*cls.stores)
            cls.db = cls._block.__enter__()

    @classmethod
    def tearDown(cls) -> None:
        if "stores" in vars(cls):
            cls._block.__exit__(None, None, None)

    @classmethod
    def testSetUp(cls, test: Any = None) -> None:
        if "stores" in vars(cls):
            cls._scope = cls.db.scope()
            cls._scope.__enter__().follow(test)

    @classmethod
    def testTearDown(cls, test: Any = None) -> None:
        if "stores" in vars(cls):
            cls._scope.__exit__(None, None, None)
