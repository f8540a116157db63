"""Tests of a Protean domain: every provider, broker, event store and cache, restored after every test.

class CheckoutTests(DomainTestCase):
    domain = shop

    def test_an_order_is_placed(self):
        shop.process(PlaceOrder(customer_id="c1"))
"""

from __future__ import annotations

from . import supported as supported  # it refuses what the rest could not work with
from .helpers import drain, drain_async, events, process, projection, published, query_count
from .testcase import AsyncDomainTestCase, DomainTestCase, test_domain, uses_domain

__all__ = [
    "AsyncDomainTestCase",
    "DomainTestCase",
    "drain",
    "drain_async",
    "events",
    "process",
    "projection",
    "published",
    "query_count",
    "test_domain",
    "uses_domain",
]
