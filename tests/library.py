"""A domain with a bit of everything, for tests: rows, counters, events, messages, a cache, markers."""

from __future__ import annotations

import logging
import os
from typing import Any

from protean import Domain, UnitOfWork, apply, handle
from protean.core.projector import on
from protean.fields import Auto, HasMany, Identifier, Integer, String
from protean.utils.globals import current_domain

from protean_testing.domain import published

os.environ["PROTEAN_NO_AUTO_LOGGING"] = "1"  # it prints every failure that a test expects
logging.getLogger("protean").setLevel(logging.CRITICAL + 1)

library = Domain(root_path=__file__, name="Library", config={})


@library.event(part_of="Author")
class AuthorAdded:
    author_id = Identifier(required=True)
    name = String(required=True)


@library.entity(part_of="Author")
class Book:
    title = String(required=True)


@library.aggregate
class Author:
    number = Integer()
    name = String(max_length=50, required=True, unique=True)
    books = HasMany(Book)

    @classmethod
    def add(cls, name: str) -> Author:
        author = cls(name=name)
        author.add_books(Book(title=f"The book of {name}"))
        author.raise_(AuthorAdded(author_id=author.id, name=name))
        return author


@library.aggregate
class Loan:
    id = Auto(identifier=True, increment=True)
    reader = String(max_length=50)


@library.command(part_of=Author)
class AddAuthor:
    name = String(required=True)


@library.command_handler(part_of=Author)
class AuthorCommands:
    @handle(AddAuthor)
    def add(self, command: AddAuthor) -> str:
        author = Author.add(command.name)
        current_domain.repository_for(Author).add(author)
        return str(author.id)


@library.event(part_of="Card")
class CardIssued:
    reader = String(required=True)


@library.aggregate(event_sourced=True)
class Card:
    reader = String(identifier=True)

    @classmethod
    def issue(cls, reader: str) -> Card:
        card = cls(reader=reader)
        card.raise_(CardIssued(reader=reader))
        return card

    @apply
    def issued(self, event: CardIssued) -> None:
        self.reader = event.reader


@library.projection
class Shelf:
    author_id = Identifier(identifier=True)
    name = String(max_length=50)


@library.projection(cache="default")
class Visit:
    reader = String(identifier=True)
    count = Integer(default=0)


@library.projector(projector_for=Shelf, aggregates=[Author], idempotent=True)
class Shelves:
    @on(AuthorAdded)
    def added(self, event: AuthorAdded) -> None:
        current_domain.repository_for(Shelf).add(Shelf(author_id=event.author_id, name=event.name))


@library.event_handler(part_of=Author)
class Announcements:
    @handle(AuthorAdded)
    def announce(self, event: AuthorAdded) -> None:
        current_domain.brokers.publish("announcements", {"name": event.name})


def write(name: str = "n") -> None:
    """Leave something in every adapter of the domain."""
    library.process(AddAuthor(name=name))
    library.repository_for(Loan).add(Loan(reader=name))
    library.repository_for(Card).add(Card.issue(name))
    library.cache_for(Visit).add(Visit(reader=name, count=1))
    broker = library.brokers["default"]
    broker.publish("returns", {"name": name})
    broker.get_next("returns", "desk")  # makes a consumer group, and a message in flight


def held() -> dict[str, Any]:
    """What is in every adapter of the domain now, with numbers in place of random identifiers."""
    everything = list(library.event_store.store.read_all("$all"))
    broker = library.brokers["default"]
    return {
        "authors": sorted(author.name for author in library.repository_for(Author).query.all().items),
        "books": sum(len(a.books) for a in library.repository_for(Author).query.all().items),
        "loans": sorted((loan.id, loan.reader) for loan in library.repository_for(Loan).query.all().items),
        "shelves": sorted(shelf.name for shelf in library.view_for(Shelf).query.all().items),
        "markers": library._get_processed_message_repo("default").query.all().total,
        "events": [message.metadata.headers.type for message in everything],
        "visits": library.cache_for(Visit).count("visit:::*"),
        "groups": sorted(broker.info().get("consumer_groups", {})),
        "announcements": [message["name"] for message in published("announcements", domain=library)],
    }


def leave_a_transaction_open(name: str) -> UnitOfWork:
    """A unit of work that a test began and never ended."""
    unit = UnitOfWork()
    unit.start()
    library.repository_for(Loan).add(Loan(reader=name))
    return unit
