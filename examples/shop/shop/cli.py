"""The shop's command line, for its staff and for cron.

python -m shop.cli [--database URL] [--redis URL] [--as NAME] COMMAND ...

Exit codes: 0, it is done; 1, the shop refused it, or a part of it; 2, it was not asked for as it must be.
"""

import argparse
import csv
import os
import sys
from collections.abc import Callable
from datetime import date, timedelta

from sqlalchemy.exc import OperationalError

from . import coupons, database, imports, orders, outbox, reports, stock
from .context import acting_as
from .errors import ShopError, WrongStatus


def import_products(arguments: argparse.Namespace) -> None:
    file = 0 if arguments.file == "-" else arguments.file
    with open(file, encoding="utf-8-sig", newline="") as lines:
        print(f"{imports.products(lines)} products imported")


def stock_report(arguments: argparse.Namespace) -> None:
    output = csv.writer(sys.stdout, lineterminator="\n")
    output.writerow(("sku", "name", "warehouse", "on_hand"))
    output.writerows(reports.stock_by_warehouse())


def write_off(arguments: argparse.Namespace) -> None:
    stock.write_off(arguments.sku, arguments.quantity, warehouse=arguments.warehouse)
    print(f"{arguments.quantity} {arguments.sku} written off, {stock.available(arguments.sku)} left")


def cancel_unpaid(arguments: argparse.Namespace) -> int:
    cancelled = refused = 0
    for order_id in reports.unpaid_orders(timedelta(days=arguments.days)):
        try:
            if arguments.dry_run:
                with database.reading() as session:
                    orders.cancellable(session, order_id)
            else:
                orders.cancel(order_id)
        except WrongStatus as error:
            print(error, file=sys.stderr)
            refused += 1
        else:
            print(f"order {order_id}")
            cancelled += 1
    print(f"{cancelled} orders {'would be ' if arguments.dry_run else ''}cancelled")
    return 1 if refused else 0


def publish(arguments: argparse.Namespace) -> None:
    print(f"{outbox.publish()} events published")


def revenue(arguments: argparse.Namespace) -> None:
    for country, total in reports.revenue_by_country().items():
        print(f"{country} {total // 100}.{total % 100:02}")


def add_coupon(arguments: argparse.Namespace) -> None:
    coupons.issue(
        arguments.code,
        percent=arguments.percent,
        amount=arguments.amount,
        max_uses=arguments.max_uses,
        valid_until=arguments.valid_until,
    )
    print(f"coupon {arguments.code} issued")


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """Reads a whole number between two others."""

    def number(text: str) -> int:
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return int(text)

    return number


def code(text: str) -> str:
    if not 0 < len(text) <= 20:
        raise argparse.ArgumentTypeError("a code has 1 to 20 characters")
    return text


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shop.cli", description="Run the shop.")
    parser.add_argument(
        "--database", metavar="URL", default=os.environ.get("DATABASE_URL"), help="instead of DATABASE_URL"
    )
    parser.add_argument(
        "--redis", metavar="URL", default=os.environ.get("REDIS_URL"), help="instead of REDIS_URL"
    )
    parser.add_argument("--as", dest="actor", metavar="NAME", default="staff", help="who acts, for the audit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Callable[[argparse.Namespace], int | None], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__.replace("_", "-"), help=help, description=help)
        added.set_defaults(run=run, needs_redis=False)
        return added

    added = command(import_products, "add the products of a CSV file, all or none")
    added.add_argument("file", help="- is standard input")
    command(stock_report, "print what lies in which warehouse, as CSV")
    added = command(write_off, "take what was broken or lost from stock")
    added.add_argument("sku")
    added.add_argument("quantity", type=whole(1))
    added.add_argument("--warehouse", default="VIENNA")
    added = command(cancel_unpaid, "cancel orders that nobody pays")
    added.add_argument("--days", type=whole(1, 10_000), default=14, help="only those older than that (14)")
    added.add_argument("--dry-run", action="store_true", help="say which, and cancel none")
    command(publish, "publish the new events, once").set_defaults(needs_redis=True)
    command(revenue, "print what was earned, by country")
    added = command(add_coupon, "issue a coupon")
    added.add_argument("code", type=code)
    terms = added.add_mutually_exclusive_group(required=True)
    terms.add_argument("--percent", type=whole(1, 100))
    terms.add_argument("--amount", type=whole(1), help="in the smallest unit: 500 is 5.00")
    added.add_argument("--max-uses", type=whole(1), default=1)
    added.add_argument("--valid-until", type=date.fromisoformat, metavar="YYYY-MM-DD")
    return parser


def main() -> int:
    options = parser()
    arguments = options.parse_args()
    if not arguments.database:
        options.error("say which database: --database URL, or DATABASE_URL in the environment")
    if arguments.needs_redis and not arguments.redis:
        options.error("say which Redis: --redis URL, or REDIS_URL in the environment")
    database.configure(arguments.database, arguments.redis if arguments.needs_redis else None)
    try:
        with acting_as(arguments.actor):
            return arguments.run(arguments) or 0
    except ShopError as error:
        print(error, file=sys.stderr)
    except UnicodeDecodeError:
        print("the file is not UTF-8", file=sys.stderr)
    except OperationalError as error:
        print(f"the database cannot be used: {error.orig}", file=sys.stderr)
    except OSError as error:
        print(error, file=sys.stderr)
    finally:
        database.close()
    return 1


if __name__ == "__main__":
    sys.exit(main())
