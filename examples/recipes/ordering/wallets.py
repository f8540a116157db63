"""A customer's wallet: its state is its events."""

from protean import apply, handle
from protean.fields import Float, Identifier, String
from protean.utils.globals import current_domain

from .domain import ordering


@ordering.event(part_of="Wallet")
class WalletOpened:
    customer = String(required=True)
    balance = Float(required=True)


@ordering.event(part_of="Wallet")
class PaymentConfirmed:
    customer = String(required=True)
    order_id = Identifier(required=True)
    amount = Float(required=True)


@ordering.aggregate(event_sourced=True)
class Wallet:
    customer = String(identifier=True, required=True)
    balance = Float(default=0.0)

    @classmethod
    def open(cls, customer: str, balance: float) -> "Wallet":
        wallet = cls(customer=customer, balance=balance)
        wallet.raise_(WalletOpened(customer=customer, balance=balance))
        return wallet

    def pay(self, order_id: str, amount: float) -> None:
        if amount > self.balance:
            raise ValueError(f"{self.customer} has {self.balance}, not {amount}")
        self.raise_(PaymentConfirmed(customer=self.customer, order_id=order_id, amount=amount))

    @apply
    def opened(self, event: WalletOpened) -> None:
        self.customer = event.customer
        self.balance = event.balance

    @apply
    def paid(self, event: PaymentConfirmed) -> None:
        self.balance -= event.amount


@ordering.command(part_of=Wallet)
class OpenWallet:
    customer = String(required=True)
    balance = Float(default=100.0)


@ordering.command(part_of=Wallet)
class Pay:
    customer = String(required=True)
    order_id = Identifier(required=True)
    amount = Float(required=True)


@ordering.command_handler(part_of=Wallet)
class WalletCommands:
    @handle(OpenWallet)
    def open(self, command: OpenWallet) -> None:
        current_domain.repository_for(Wallet).add(Wallet.open(command.customer, command.balance))

    @handle(Pay)
    def pay(self, command: Pay) -> None:
        wallets = current_domain.repository_for(Wallet)
        wallet = wallets.get(command.customer)
        wallet.pay(command.order_id, command.amount)
        wallets.add(wallet)
