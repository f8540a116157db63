"""The shop's tests. Run them from examples/shop:

    python -m unittest                          # SQLite in memory, and a private Redis
    TEST_DB=sqlite python -m unittest           # SQLite in a file
    TEST_DB=postgresql python -m unittest       # a private PostgreSQL, gone after the run
    TEST_INFRA=full python -m unittest          # the same; or on servers of yours, where these are set:
                                                # DATABASE_URL=postgresql://localhost/shop_test
                                                # REDIS_URL=redis://localhost/9

From elsewhere: python -m unittest discover -s examples/shop -t examples/shop
"""
