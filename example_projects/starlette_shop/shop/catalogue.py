"""What the shop sells."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Product:
    slug: str
    name: str
    note: str
    price: Decimal


SHELF = (
    Product(
        "teapot",
        "Cast-iron teapot",
        "Heavy, unhurried, and still warm when you come back from the door.",
        Decimal("48.00"),
    ),
    Product(
        "sencha",
        "Sencha, first flush",
        "Grassy and sweet. Seventy degrees, one minute, then again.",
        Decimal("14.50"),
    ),
    Product(
        "gaiwan",
        "Porcelain gaiwan",
        "A lid, a bowl and a saucer, thin enough to see the tea through.",
        Decimal("26.00"),
    ),
    Product(
        "whisk",
        "Bamboo whisk",
        "Eighty tines cut by hand from a single piece.",
        Decimal("19.00"),
    ),
)
PRODUCTS = {product.slug: product for product in SHELF}
