"""Django's test cases and ours in one run, on Django's database and beside it."""

from django.db import connection, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase

import shop
from protean_testing import DatabaseTestCase, RedisStore, uses_database
from protean_testing.django import DjangoTestCase, django_database

from .models import Kind, Order


def place(customer="Ann", kind="book"):
    """The code under test: it commits, and does something after the commit. Gives the order's number."""
    done = []
    with transaction.atomic():
        order = Order.objects.create(customer=customer, kind=Kind.objects.get(name=kind))
        transaction.on_commit(lambda: done.append(order.id))
    return order.id, done


@shop.repeated(10)
class CommitTests(DjangoTestCase):
    def each(self):
        self.assertEqual((Order.objects.count(), Kind.objects.count()), (0, 2))
        self.assertEqual(place(), (1, [1]))
        Kind.objects.create(name="toy")


@shop.repeated(5)
class SharedRowsTests(DjangoTestCase):
    @classmethod
    def setUpTestData(cls):
        cls.number, _ = place("Bob")
        cls.order = Order.objects.get()

    def each(self):
        self.assertEqual([self.order.customer, self.number], ["Bob", 1])
        self.order.customer = "changed"
        self.order.save()
        self.assertEqual(place(), (2, [2]))


@shop.repeated(5)
class BesideTests(DatabaseTestCase):
    stores = [django_database(), *shop.STORES]

    def setUp(self):
        super().setUp()
        shop.began(self)

    def each(self):
        self.assertEqual((Order.objects.count(), shop.orders(self.db.store("sql"))), (0, (0, 0, 0)))
        self.assertEqual((place()[0], shop.order(self.db.store("sql"))), (1, 1))


class OpenTests(DjangoTestCase):
    def test_1_a_transaction_that_stays_open(self):
        transaction.atomic().__enter__()
        place()

    def test_2_is_gone(self):
        self.assertFalse(connection.in_atomic_block)
        self.assertEqual((Order.objects.count(), place()), (0, (1, [1])))

    async def test_3_async(self):
        self.assertEqual(await Order.objects.acount(), 0)

    def test_4_autocommit_that_stays_off(self):
        transaction.set_autocommit(False)
        place()

    def test_5_is_on(self):
        self.assertTrue(transaction.get_autocommit())
        self.assertEqual(self.client.get("/nothing").status_code, 404)


@uses_database(RedisStore(name="beside"))
class RollbackTests(TestCase):
    def test_1(self):
        self.assertEqual(self.db.store("beside").client.incr("orders"), 1)
        self.assertEqual(Order.objects.count(), 0)
        place()

    test_2 = test_1


class FlushingTests(TransactionTestCase):
    def test_1(self):
        self.assertEqual(Order.objects.count(), 0)
        Kind.objects.get_or_create(name="book")
        place()

    test_2 = test_1


class NoDatabaseTests(SimpleTestCase):
    def test_nothing(self):
        self.assertEqual(Order._meta.app_label, "store")


class RefusedTests(TestCase):
    def test_our_store_inside_of_a_test_case_of_djangos(self):
        from protean_testing import OpenTransactionError, test_database

        with self.assertRaisesRegex(OpenTransactionError, "DjangoTestCase"), test_database(django_database()):
            pass
