from django.test.runner import DiscoverRunner

from protean_testing.django import RunnerMixin


class OwnRunner(RunnerMixin, DiscoverRunner):
    """What a project may have by itself."""
