import sys
from datetime import datetime
from pathlib import Path

from pdmt5 import Mt5Config, Mt5DataClient

login, server, password = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_text()
with Mt5DataClient(config=Mt5Config(login=login, server=server, password=password)) as client:
    print(client.account_info_as_dict()["login"], client.symbol_info_as_df("EURUSD")["digits"][0])
    bars = client.copy_rates_from_pos_as_df("EURUSD", 1, 0, 50)
    print(len(bars), bars["close"].dtype, bars.index.name or "no index")
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "comment": "pdmt5"}
    print(client.order_send_as_dict(request)["retcode"])
    deals = client.history_deals_get_as_df(datetime(2020, 1, 1), datetime(2037, 1, 1))
    print(client.positions_get_as_df(symbol="EURUSD")["volume"].tolist(), len(deals))
