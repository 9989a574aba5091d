import asyncio
import sys
from pathlib import Path

from aiomql import Account, Config, Order, OrderType, Symbol, TimeFrame

PASSWORD = Path(sys.argv[3]).read_text()


async def main() -> None:
    Config(login=int(sys.argv[1]), server=sys.argv[2], password=PASSWORD)
    async with Account() as account:
        symbol = Symbol(name="EURUSD")
        print(account.login, await symbol.initialize(), symbol.digits)
        candles = await symbol.copy_rates_from_pos(timeframe=TimeFrame.M1, count=30)
        print(len(candles), candles[-1].close > 0)
        order = Order(symbol="EURUSD", volume=0.1, type=OrderType.BUY, price=symbol.tick.ask, comment="aiomql")
        print((await order.check()).retcode, (await order.send()).retcode)


asyncio.run(main())
