"""Reads what limpet wrote, with kazoo, by the documented rules of each format's readers, and prints it.

Arguments: the servers. The rules: Finagle's serverset2 Entry.scala, Synapse's service_watcher/zookeeper.rb, Dubbo's
ZookeeperRegistry.toUrlsWithoutEmpty.
"""

import json
import re
import sys
from urllib.parse import unquote_plus

from kazoo.client import KazooClient


def finagle(client, path):
    for name in client.get_children(path):
        if not name.startswith("member_"):
            continue
        entry = json.loads(client.get(f"{path}/{name}")[0])
        if entry["status"] == "ALIVE" and entry["additionalEndpoints"] == {}:
            endpoint = entry["serviceEndpoint"]
            shaped = re.fullmatch(r"member_\d{10}", name) is not None
            yield f"{endpoint['host']}:{endpoint['port']} shaped={shaped} metadata={entry.get('metadata')}"


def synapse(client, path):
    for name in client.get_children(path):
        entry = json.loads(client.get(f"{path}/{name}")[0])
        number = re.search(r"_(\d{10})$", name)
        yield f"{entry['host']}:{entry['port']} name={entry['name']} id={number is not None} {entry.get('labels')}"


def dubbo(client, path):
    for name in client.get_children(path):
        yield unquote_plus(name)[:60] + f" {len(name)}"


client = KazooClient(hosts=sys.argv[1], timeout=20)
client.start(timeout=60)
for reader, path in (
    (finagle, "/services/finagle"),
    (synapse, "/services/nerve"),
    (dubbo, "/dubbo/com.acme.Hello/providers"),
):
    for line in sorted(reader(client, path)):
        print(reader.__name__, line)
client.stop()
