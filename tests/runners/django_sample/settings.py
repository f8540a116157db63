import os

SECRET_KEY = "of the tests"
INSTALLED_APPS = ["django.contrib.contenttypes", "store"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEST_RUNNER = os.environ.get("TEST_RUNNER", "protean_testing.django.Runner")
USE_TZ = True
ROOT_URLCONF = "urls"
if os.environ.get("PGHOST"):
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "shop",
            "USER": "postgres",
            "HOST": os.environ["PGHOST"],
            "PORT": "5432",
        }
    }
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
