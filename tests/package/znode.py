"""What stands at a path, seen with kazoo: its czxid, its owner and its data, or "none". Arguments: servers, path."""

import logging
import sys

from kazoo.client import KazooClient

logging.disable(logging.CRITICAL)
client = KazooClient(hosts=sys.argv[1], timeout=20)
client.start(timeout=60)
stat = client.exists(sys.argv[2])
if stat is None:
    print("none")
else:
    print(f"{stat.czxid:#x} {stat.ephemeralOwner:#x} {client.get(sys.argv[2])[0].decode()}")
client.stop()
client.close()
