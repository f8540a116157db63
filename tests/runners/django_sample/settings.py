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
elif os.environ.get("MYSQL_HOST"):
    import pymysql

    pymysql.install_as_MySQLdb()
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "shop",
            "USER": "root",
            "HOST": os.environ["MYSQL_HOST"],
        }
    }
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
