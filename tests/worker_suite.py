"""A suite that several processes run at once, each all of it."""

from __future__ import annotations

from .suite import MODELS

SUITE = (
    MODELS
    + """
import multiprocessing, signal, time
from protean_testing import RedisStore

BARRIER = None

def stores():
    found = [SQLAlchemyStore(Base.metadata)]
    return found + [RedisStore(os.environ["REDIS"])] if "REDIS" in os.environ else found

class ShopTests(DatabaseTestCase):
    stores = stores()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.environ["LOG"], "a") as log:
            print(cls.db.url, *(store.url for store in cls.db.stores[1:]), file=log)
        if BARRIER is not None:
            BARRIER.wait(int(os.environ.get("WAIT", 60)))   # all are here before the first ends

    def test_1(self):
        self.assertEqual(place(self.db.engine), 1)
        self.assertEqual(customers(self.db.engine), ["c"])
        for store in self.db.stores[1:]:
            self.assertEqual(store.client.incr("orders"), 1)
        if BARRIER is not None and os.environ.get("STOP"):
            os.write(1, b"%d\\n" % os.getpid())  # at once: the others write there too
            time.sleep(60)
    test_2 = test_1

def work(barrier):
    global BARRIER
    BARRIER = barrier
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(ShopTests)
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    sys.exit(not result.wasSuccessful() or result.testsRun != 2)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    barrier = context.Barrier(int(sys.argv[2]))
    processes = [context.Process(target=work, args=(barrier,)) for _ in range(int(sys.argv[2]))]
    for process in processes: process.start()
    for process in processes: process.join()
    sys.exit(any(process.exitcode for process in processes))
"""
)
