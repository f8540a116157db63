"""The sample suite under nose2 with its plugin, and with nose2's own layers and multiprocess plugins."""

from __future__ import annotations

from .runners.running import LAYERS, SampleTestCase

PLUGIN = "protean_testing.runners.nose2"


class Nose2Tests(SampleTestCase):
    def plugins(self, *plugins: str) -> None:
        self.write("unittest.cfg", "[unittest]\nplugins = " + "\n    ".join(plugins) + "\n")

    def test_without_the_plugin(self) -> None:
        self.assertRight("-m", "nose2")

    def test_with_the_plugin_on_postgresql(self) -> None:
        self.plugins(PLUGIN)
        self.assertRight("-m", "nose2", **self.given())

    def test_a_failed_drop(self) -> None:
        self.plugins(PLUGIN)
        self.assertFailsWithItsDrop("-m", "nose2")
        self.plugins(PLUGIN, "nose2.plugins.mp")
        self.assertFailsWithItsDrop("-m", "nose2", "-N", "2")

    def test_four_processes(self) -> None:
        self.plugins(PLUGIN, "nose2.plugins.mp")
        self.assertRight("-m", "nose2", "-N", "4", workers=4)

    def test_layers(self) -> None:
        self.write("test_layers.py", LAYERS % "layers")
        self.plugins(PLUGIN, "nose2.plugins.layers")
        self.on_stores += 20
        self.assertRight("-m", "nose2")

    def test_kills(self) -> None:
        self.plugins(PLUGIN, "nose2.plugins.mp")
        self.assertNothingLeftAfterKills("-m", "nose2", "-N", "2", workers=2, **self.given())
