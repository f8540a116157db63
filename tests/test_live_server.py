"""A live server: a real client drives the application, and a late request reaches no other test."""

from __future__ import annotations

import unittest

from .suite import MODELS, SuiteTestCase

APPLICATIONS = (
    MODELS
    + """
import http.client, time, urllib.error, urllib.request

def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()

def later(action, *args):
    thread = threading.Thread(target=action, args=args, daemon=True)
    thread.start()
    return thread

started, go_on = threading.Event(), threading.Event()

def answer(engine, path):
    '''What both applications do.'''
    if path == "/place":
        return str(place(engine))
    if path == "/slow":
        started.set()
        go_on.wait(float(os.environ.get("SLOW", "0.5")))
        return str(place(engine, "slow"))
    if path == "/open":
        with Session(engine) as session:
            session.add(Order(customer="open"))
            session.flush()
            started.set()
            go_on.wait(float(os.environ.get("SLOW", "0.5")))
            session.commit()
        return "committed"
    if path == "/fails":
        raise RuntimeError("the application fails")
    return ",".join(customers(engine))

def wsgi(engine):
    def application(environ, start_response):
        body = answer(engine, environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body.encode()]
    return application

def asgi(engine):
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown": return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            started.set()
            while (await receive())["type"] != "websocket.disconnect": pass
            return
        body = await asyncio.to_thread(answer, engine, scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.encode()})
    return application

applications = {"wsgi": wsgi, "asgi": asgi}

class Served(DatabaseTestCase):
    metadata = Base.metadata
    options = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        application = applications[os.environ.get("INTERFACE", "wsgi")]
        cls.server = cls.db.serve(application(cls.engine), **cls.options)
"""
)


class LiveServerTests(SuiteTestCase):
    def each(self, tests: int, **variables: str) -> None:
        """The suite passes with both kinds of application."""
        for interface in ("wsgi", "asgi"):
            with self.subTest(interface):
                self.assertPassed(self.unittest("test_a", INTERFACE=interface, **variables), tests)

    def test_requests_of_every_test_find_the_data_as_it_was(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(Served):
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "of the class")
                def check(self):
                    self.assertEqual(get(self.server.url + "/"), "of the class")
                    threads = [later(get, self.server.url + "/place") for _ in range(5)]
                    for thread in threads: thread.join()
                    self.assertEqual(customers(self.engine), ["c"] * 5 + ["of the class"])
                test_a = test_b = test_c = check

                def test_restore_point(self):
                    with self.db.scope():
                        get(self.server.url + "/place")
                    self.assertEqual(get(self.server.url + "/place"), "2")
                    self.db.reset()
                    self.assertEqual(get(self.server.url + "/place"), "2")
            """,
            before=APPLICATIONS,
        )
        self.each(4)
        self.each(4, TEST_DB="postgresql")

    def test_a_late_request_is_waited_for(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(Served):
                def late(self):
                    self.assertEqual(customers(self.engine), [])
                    started.clear()
                    later(get, self.server.url + "/" + os.environ["LATE"])
                    self.assertTrue(started.wait(5))
                test_a = test_b = test_c = late
            """,
            before=APPLICATIONS,
        )
        for late in ("slow", "open"):
            self.each(3, LATE=late)
            self.each(3, LATE=late, TEST_DB="postgresql")

    def test_one_that_does_not_end_is_named_and_never_writes_into_the_next_test(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(Served):
                options = {"wait": 0.2}
                def test_a(self):
                    later(get, self.server.url + "/slow")
                    self.assertTrue(started.wait(5))
                def test_b(self):
                    self.fail("this test cannot run")
                @classmethod
                def tearDownClass(cls):
                    super().tearDownClass()
            class TestsAfter(DatabaseTestCase):
                metadata = Base.metadata
                def test_c(self):
                    self.assertEqual(customers(self.engine), [])
            """,
            before=APPLICATIONS,
        )
        outcome = self.unittest("test_a", SLOW="3")
        self.assertFailed(
            outcome,
            "LeakError: test_a.Tests.test_a ended while its live server was still at GET /slow, after 0.2 s",
            "the live server is still at GET /slow of test_a.Tests.test_a",
            "FAILED (errors=2)",
        )
        self.assertNotIn("this test cannot run", outcome.err)

    def test_one_that_ends_between_two_tests_is_wiped(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(Served):
                options = {"wait": 0.1}
                def test_a(self):
                    later(get, self.server.url + "/slow")
                    self.assertTrue(started.wait(5))
                @classmethod
                def a_while(cls):
                    time.sleep(1.5)
                def test_b(self):
                    self.assertEqual(customers(self.engine), [])
                def run(self, result=None):
                    if self._testMethodName == "test_b":
                        self.a_while()
                        assert customers(self.engine) == ["slow"], "it was written between the tests"
                    return super().run(result)
            """,
            before=APPLICATIONS,
        )
        outcome = self.unittest("test_a", SLOW="2")
        self.assertFailed(outcome, "still at GET /slow", "FAILED (errors=1)")

    def test_between_two_tests_nothing_is_let_in(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(Served):
                def test_a(self):
                    get(self.server.url + "/place")
                def test_b(self):
                    self.assertEqual(customers(self.engine), [])
                def run(self, result=None):
                    done = super().run(result)
                    try:
                        get(self.server.url + "/place")
                    except urllib.error.HTTPError as error:
                        with error:
                            print(error.code, error.read().decode())
                    return done
            """,
            before=APPLICATIONS,
        )
        for interface in ("wsgi", "asgi"):
            outcome = self.unittest("test_a", INTERFACE=interface)
            self.assertPassed(outcome, 2)
            self.assertEqual(outcome.out.count("503 protean_testing: the test that this request"), 2)

    def test_websockets_and_unread_responses_are_closed_and_named(self) -> None:
        self.write(
            "test_a.py",
            """
            from websockets.sync.client import connect
            class Tests(Served):
                options = {"wait": 0.2}
                def test_closed(self):
                    with connect(self.server.url.replace("http", "ws") + "/feed"):
                        pass
                def test_open(self):
                    self.left = connect(self.server.url.replace("http", "ws") + "/feed")
                    self.addClassCleanup(self.left.close)
                    self.assertTrue(started.wait(5))
                def test_other(self):
                    self.assertEqual(get(self.server.url + "/place"), "1")
            """,
            before=APPLICATIONS,
        )
        outcome = self.unittest("test_a", INTERFACE="asgi")
        self.assertFailed(outcome, "test_a.Tests.test_open ended while its", "WEBSOCKET /feed", "errors=1)")

    def test_it_ends_with_the_scope_in_which_it_began(self) -> None:
        self.write(
            "test_a.py",
            """
            before = threading.active_count()
            for make in (wsgi, asgi):
                with test_database(Base.metadata) as db:
                    server = db.serve(make(db.engine))
                    with db.scope() as inner:
                        innermost = inner.serve(make(inner.engine))
                        assert get(innermost.url + "/place") == "1"
                        assert get(server.url + "/place") == "2"
                    assert get(server.url + "/place") == "1"
                    try:
                        get(innermost.url)
                    except urllib.error.URLError as error:
                        assert isinstance(error.reason, ConnectionRefusedError), error
                    else:
                        raise AssertionError("it still answers")
                assert threading.active_count() == before, threading.enumerate()
            """,
            before=APPLICATIONS,
        )
        self.assertEqual(self.python("test_a.py").code, 0)

    def test_a_failing_application_is_an_error_500(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(Served):
                def test_a(self):
                    with self.assertRaises(urllib.error.HTTPError) as caught:
                        get(self.server.url + "/fails")
                    with caught.exception:
                        self.assertEqual(caught.exception.code, 500)
                    self.assertEqual(get(self.server.url + "/place"), "1")
            """,
            before=APPLICATIONS,
        )
        for interface in ("wsgi", "asgi"):
            outcome = self.unittest("test_a", INTERFACE=interface)
            self.assertPassed(outcome, 1)
            self.assertIn("the application fails", outcome.err)

    def test_what_cannot_be_served(self) -> None:
        self.write(
            "test_a.py",
            """
            async def fails(scope, receive, send):
                raise RuntimeError("no lifespan")
            async def never(scope, receive, send):
                await receive()
                await send({"type": "lifespan.startup.failed", "message": "no cache"})
            import socket
            taken = socket.create_server(("127.0.0.1", 0))
            with test_database(Base.metadata) as db:
                for application, options in (
                    ("an app", {}),
                    (never, {}),
                    (wsgi(db.engine), {"port": taken.getsockname()[1]}),
                ):
                    try:
                        db.serve(application, **options)
                    except ConfigurationError as error:
                        print(error)
                sys.modules["uvicorn"] = None
                try:
                    db.serve(never)
                except ConfigurationError as error:
                    print(error)
            """,
            before=APPLICATIONS,
        )
        outcome = self.python("test_a.py")
        self.assertEqual(outcome.code, 0, outcome.err)
        for text in (
            "'an app' is no WSGI or ASGI application",
            "its lifespan has failed",
            "cannot be served: Address already in use",
            'pip install "protean-testing[live]"',
        ):
            self.assertIn(text, outcome.out)


if __name__ == "__main__":
    unittest.main()
