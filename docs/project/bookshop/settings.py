SECRET_KEY = "not in production"
INSTALLED_APPS = ["django.contrib.contenttypes", "bookshop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "bookshop.db"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEST_RUNNER = "protean_testing.django.Runner"
