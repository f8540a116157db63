"""The Elasticsearch provider, on a server that is compatible with it (see `tests.elasticsearch`)."""

from __future__ import annotations

import os
import unittest
from typing import Any

from elasticsearch import Elasticsearch
from protean import Domain, apply
from protean.fields import Integer, String

from protean_testing import ConfigurationError, UnsafeStoreError
from protean_testing.core.run import run
from protean_testing.domain import DomainTestCase, test_domain

from . import library  # for its settings of logs
from .elasticsearch import url

os.environ.setdefault("PROTEAN_NO_AUTO_LOGGING", "1")
search = Domain(root_path=__file__, name="Search", config={})
# Protean 0.18 makes an index for the outbox and cannot write a document into it, so nothing here does.
STREAM = {"server": {"default_subscription_type": "stream"}}
assert library


@search.event(part_of="Page")
class PageAdded:
    title = String()


@search.aggregate
class Page:
    title = String(max_length=50)
    visits = Integer(default=0)

    def add(self) -> None:
        self.raise_(PageAdded(title=self.title))


@search.event(part_of="Visit")
class Visited:
    name = String()


@search.aggregate(event_sourced=True)
class Visit:
    name = String(identifier=True)

    @apply
    def visited(self, event: Visited) -> None:
        self.name = event.name


def config(prefix: str, **options: Any) -> dict[str, Any]:
    entry = {"provider": "elasticsearch", "database_uri": {"hosts": [url()]}, **options}
    return {"databases": {"default": {**entry, "NAMESPACE_PREFIX": prefix} if prefix else entry}}


def add(title: str) -> None:
    page = Page(title=title)
    page.add()
    search.repository_for(Page).add(page)


def titles() -> list[str]:
    return sorted(page.title for page in search.repository_for(Page).query.all().items)


def indexes() -> dict[str, int]:
    with Elasticsearch(url()) as client:
        client.indices.refresh()
        names = sorted(client.indices.get_alias(index="*"))
        return {name: client.count(index=name)["count"] for name in names if not name.startswith(".")}


class GivenBackTests(DomainTestCase):
    domain = search
    traverse = False
    config = config("test")

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        add("class")

    def check(self) -> None:
        self.assertEqual(titles(), ["class"])
        add("test")
        with self.db.scope():
            add("scope")
            self.assertEqual(titles(), ["class", "scope", "test"])
        self.assertEqual(titles(), ["class", "test"])
        page = search.repository_for(Page).query.filter(title="class").all().first
        page.visits = 7
        search.repository_for(Page).add(page)

    test_1 = test_2 = check

    def test_a_document_that_is_deleted(self) -> None:
        page = search.repository_for(Page).query.all().first
        self.assertEqual((page.title, page.visits), ("class", 0))
        search.repository_for(Page)._dao.delete(page)
        self.assertEqual(titles(), [])

    test_a_document_that_is_deleted_again = test_a_document_that_is_deleted


class EndTests(unittest.TestCase):
    def setUp(self) -> None:
        run.end()
        self.addCleanup(run.end)

    def test_no_index_is_left_the_outboxs_included(self) -> None:
        before = indexes()
        with test_domain(search, config={**config("test_end"), **STREAM}, traverse=False):
            self.assertEqual(sorted(indexes().keys() - before.keys()), ["test_end_outbox", "test_end_page"])
        run.end()
        self.assertEqual(indexes(), before)

    def test_more_documents_than_come_at_once(self) -> None:
        with test_domain(search, config=config("test_many"), traverse=False) as db:
            with Elasticsearch(url()) as client:
                steps: list[Any] = []
                for number in range(2500):
                    steps += [{"index": {"_index": "test_many_page"}}, {"title": f"{number}"}]
                client.bulk(operations=steps, refresh=True)
            self.assertEqual(indexes()["test_many_page"], 2500)
            with db.scope():
                add("one more")
            self.assertEqual(indexes()["test_many_page"], 2500)
        self.assertEqual(indexes()["test_many_page"], 0)

    def test_documents_of_others_are_refused(self) -> None:
        with Elasticsearch(url()) as client:
            client.index(index="page", document={"title": "of somebody"}, refresh=True)
            self.addCleanup(
                lambda: Elasticsearch(url()).indices.delete(index="page", ignore_unavailable=True)
            )
        block = test_domain(search, config=config(""), traverse=False)
        with self.assertRaisesRegex(UnsafeStoreError, r"page \(1 documents\)"), block:
            self.fail("it was entered")
        self.assertEqual(indexes()["page"], 1)
        with test_domain(search, config=config("", testing={"unsafe": True}), traverse=False):
            self.assertEqual(titles(), [])

    def test_a_server_that_is_not_there(self) -> None:
        entry = {"provider": "elasticsearch", "database_uri": {"hosts": ["http://ann:s3cret@127.0.0.1:1"]}}
        block = test_domain(search, config={"databases": {"default": entry}}, traverse=False)
        with self.assertRaises(ConfigurationError) as caught, block:
            self.fail("it was entered")
        self.assertNotIn("s3cret", str(caught.exception))
