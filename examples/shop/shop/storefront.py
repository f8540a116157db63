"""The shop's web side, async: search, baskets, checkout, and news of orders as they happen."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

from redis.asyncio import Redis
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from . import baskets, catalog, outbox
from .baskets import BASKETS_LIVE
from .database import prepare_sqlite
from .errors import OrderRefused
from .models import Order, Product
from .orders import place_in


class Storefront:
    """Use it as ``async with Storefront(database_url, redis_url) as front:``, in one event loop."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        url = make_url(database_url)
        if url.get_backend_name() == "sqlite":
            url = url.set(drivername="sqlite+aiosqlite")
        self._engine = create_async_engine(url)
        if url.get_backend_name() == "sqlite":
            prepare_sqlite(self._engine.sync_engine)
        self._reading = async_sessionmaker(self._engine, expire_on_commit=False)
        self._writing = async_sessionmaker(
            self._engine.execution_options(shop_writes=True), expire_on_commit=False
        )
        self._redis: Any = Redis.from_url(redis_url, decode_responses=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose()
        await self._engine.dispose()

    async def search(self, text: str) -> Sequence[Product]:
        async with self._reading() as session:
            found = await session.scalars(catalog.named(text))
            return found.all()

    async def put(self, customer_id: int, sku: str, quantity: int = 1) -> None:
        """Put so many more into the basket; a negative quantity takes them out."""
        async with self._reading() as session:
            await session.run_sync(catalog.product_of, sku)
        basket = baskets.key(customer_id)
        if await self._redis.hincrby(basket, sku, quantity) <= 0:
            await self._redis.hdel(basket, sku)
        await self._redis.expire(basket, BASKETS_LIVE)

    async def basket(self, customer_id: int) -> dict[str, int]:
        basket = await self._redis.hgetall(baskets.key(customer_id))
        return {sku: int(quantity) for sku, quantity in sorted(basket.items())}

    async def checkout(self, customer_id: int, *, coupon: str | None = None) -> Order:
        """Order what is in the basket, and empty it; where the order is refused it stays full."""
        session: AsyncSession
        async with self._redis.lock(**baskets.lock(customer_id)):
            items = await self.basket(customer_id)
            if not items:
                raise OrderRefused("the basket is empty")
            async with self._writing() as session, session.begin():
                order = await session.run_sync(place_in, customer_id, items, coupon=coupon)
            await self._redis.delete(baskets.key(customer_id))
            return order

    async def news(self, *, since: str = "0") -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """The kind and payload of every event on the stream, as they come; it never ends by itself."""
        while True:
            streams = await self._redis.xread({outbox.STREAM: since}, block=1000)
            for _, entries in streams or ():
                for entry, fields in entries:
                    since = entry
                    _, kind, payload = outbox.unpack(fields)
                    yield kind, payload
