# ruff: noqa: RUF012
from django.db import migrations

SHELF = [
    ("teapot", "Cast-iron teapot", "Heavy, unhurried, and still warm when you come back from the door.", "48.00"),
    ("sencha", "Sencha, first flush", "Grassy and sweet. Seventy degrees, one minute, then again.", "14.50"),
    ("gaiwan", "Porcelain gaiwan", "A lid, a bowl and a saucer, thin enough to see the tea through.", "26.00"),
    ("whisk", "Bamboo whisk", "Eighty tines cut by hand from a single piece.", "19.00"),
]


def fill(apps, schema_editor):
    product = apps.get_model("shop", "Product")
    product.objects.bulk_create(
        product(slug=slug, name=name, note=note, price=price) for slug, name, note, price in SHELF
    )


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
