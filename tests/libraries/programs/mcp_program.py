import sys
from pathlib import Path

from metatrader_client import MT5Client

account = {"login": int(sys.argv[1]), "server": sys.argv[2], "password": Path(sys.argv[3]).read_text()}
client = MT5Client({"path": "C:/MetaTrader 5/terminal64.exe", **account})
print(client.connect(), client.account.get_account_info()["login"])
print(len(client.market.get_candles_latest("EURUSD", "M1", 40)), client.market.get_symbol_price("EURUSD")["ask"] > 0)
placed = client.order.place_market_order(type="BUY", symbol="EURUSD", volume=0.1)
print(placed["error"], placed["data"].retcode)
position = placed["data"].order
print(position in client.order.get_all_positions()["id"].tolist(), client.order.close_position(position)["error"])
print(client.disconnect())
