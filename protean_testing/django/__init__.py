"""Django: a test runner, a store on Django's own database, and a test case that may really commit.

In the settings::

    TEST_RUNNER = "protean_testing.django.Runner"
"""

from .runner import Runner, RunnerMixin
from .store import DjangoStore, django_database
from .testcase import DjangoTestCase

__all__ = ["DjangoStore", "DjangoTestCase", "Runner", "RunnerMixin", "django_database"]
