"""A small Django application."""

from django.db import models, transaction


class Book(models.Model):
    title = models.CharField(max_length=50)


def add(title: str, then=print) -> Book:
    """Put a book on the shelf, for good, and tell of it when that is done."""
    with transaction.atomic():
        book = Book.objects.create(title=title)
        transaction.on_commit(lambda: then(book))
    return book
