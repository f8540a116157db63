import django.db.models.deletion
from django.db import migrations, models


def kinds(apps, editor):
    for name in "book", "game":
        apps.get_model("store", "Kind").objects.using(editor.connection.alias).create(name=name)


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Kind",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=20, unique=True)),
            ],
        ),
        migrations.CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("customer", models.CharField(max_length=50)),
                ("kind", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="store.kind")),
            ],
        ),
        migrations.RunPython(kinds),
    ]
