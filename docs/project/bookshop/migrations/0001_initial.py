from django.db import migrations, models


def first_book(apps, schema_editor):
    apps.get_model("bookshop", "Book").objects.create(title="The first")


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Book",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=50)),
            ],
        ),
        migrations.RunPython(first_book),
    ]
