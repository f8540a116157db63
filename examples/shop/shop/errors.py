"""What can go wrong in the shop, in the shop's own words."""


class ShopError(Exception):
    """The base of every error of the shop."""


class NotConfigured(ShopError):
    """The shop was used before `shop.configure`."""


class NobodyActing(ShopError):
    """Something was changed outside `shop.acting_as`: the audit would not know by whom."""


class NotFound(ShopError):
    """There is no such customer, product, order, coupon ..."""


class EmailTaken(ShopError):
    """Another customer has this e-mail address."""


class SkuTaken(ShopError):
    """Another product has this SKU."""


class CouponTaken(ShopError):
    """Another coupon has this code."""


class OutOfStock(ShopError):
    """There is less of a product than was ordered."""

    def __init__(self, sku: str, wanted: int, available: int) -> None:
        super().__init__(f"{sku}: {wanted} wanted, {available} available")
        self.sku = sku
        self.wanted = wanted
        self.available = available


class OrderRefused(ShopError):
    """An order cannot be placed like this: it is empty, mixes currencies, has no address to go to."""


class CouponRefused(ShopError):
    """The coupon has run out, was used up, or was used by this customer before."""


class WrongStatus(ShopError):
    """The order is not in a state that allows this."""


class WrongAmount(ShopError):
    """A payment or refund that does not fit what is owed or was paid."""


class RequestReused(ShopError):
    """A request for a payment came before under the same key, and asked for something else."""


class ImportRefused(ShopError):
    """A file has errors, each in a line of its own in `errors`; nothing of it was imported."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class ChangedMeanwhile(ShopError):
    """Somebody else changed it since it was read."""
