"""The ways of MIGRATION.md, gone as they are described: nobody who reads ZooKeeper ever finds the service gone.

Arguments: limpet, limpetd, one ZooKeeper server, the source directory. kazoo stands for those who wrote before.
"""

import json
import re
import sys
import threading
import time

from agent import SERVER, Agent, check, judged
from kazoo.client import KazooClient


def connect(place=""):
    client = KazooClient(hosts=SERVER + place, timeout=20)
    client.start(timeout=60)
    return client


def block_of(heading, kind):
    """The first block of that kind under the heading."""
    with open(sys.argv[4] + "/agent/docs/MIGRATION.md", encoding="utf-8") as file:
        section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", file.read(), flags=re.M | re.S).group(1)
    return json.loads(re.search(rf"^```{kind}$\n(.*?)^```$", section, flags=re.M | re.S).group(1))


def register(agent, entry, wanted):
    name = f"/v1/registrations/{entry.pop('service')}/{entry.pop('instance')}"
    agent.call("PUT", name, entry)
    await_state(agent, name, wanted)
    return name


def await_state(agent, name, wanted):
    for _ in range(1200):
        shown = agent.call("GET", name)[1]
        if shown.get("state") == wanted:
            return
        time.sleep(0.05)
    check(False, f"{name} does not become {wanted}: {shown}")


def from_nerve(agent, client):
    """Both stand for a while, and are the same backend to Synapse; at no moment is there none."""
    before = block_of("Nerve", "json")
    service = before["services"]["web"]
    nerve = connect("/place")
    nerve.ensure_path(service["zk_path"])
    data = {"host": service["host"], "port": service["port"], "name": before["instance_id"], "labels": service["labels"]}
    nerve.create(f"{service['zk_path']}/{before['instance_id']}_", json.dumps(data).encode(), ephemeral=True, sequence=True)
    fewest = [1]
    ends = threading.Event()

    def watch():
        while not ends.is_set():
            fewest[0] = min(fewest[0], len(client.get_children(service["zk_path"])))

    watcher = threading.Thread(target=watch)
    watcher.start()
    entry = block_of("Nerve", "json registration")
    entry.pop("checks")  # of a service that is not here
    register(agent, entry, "registered")
    names = client.get_children(service["zk_path"])
    backends = {tuple(json.loads(client.get(f"{service['zk_path']}/{name}")[0])[key] for key in ("host", "port", "name"))
                for name in names}
    check(len(names) == 2 and len(backends) == 1, f"{names}: {backends}")
    labels = [json.loads(client.get(f"{service['zk_path']}/{name}")[0])["labels"] for name in names]
    check(labels[0] == labels[1], labels)
    nerve.stop()
    nerve.close()
    for _ in range(1200):
        if len(client.get_children(service["zk_path"])) == 1:
            break
        time.sleep(0.05)
    ends.set()
    watcher.join()
    check(fewest[0] == 1, "there was a moment without a backend")
    check(client.get_children(service["zk_path"]) == ["host-1_0000000001"], client.get_children(service["zk_path"]))


def from_the_process(agent, client):
    """The same znode: it is left to its owner, and taken when that one goes."""
    path = "/services/billing/billing-7"
    process = connect("/place")
    process.create(path, b"its own", ephemeral=True, makepath=True)
    entry = {"service": "billing", "instance": "billing-7", "format": "curator", "address": "10.0.0.7", "port": 8080}
    name = register(agent, entry, "conflict")
    check(agent.call("GET", name)[1]["reason"]["code"] == "foreign_owner", "the reason")
    check(client.get(path)[0] == b"its own", "it is left alone")
    process.stop()
    process.close()
    await_state(agent, name, "registered")
    shown = json.loads(client.get(path)[0])
    check((shown["id"], shown["address"], shown["port"], shown["payload"]) == ("billing-7", "10.0.0.7", 8080, None), shown)
    for _ in range(1200):
        what = [one["what"] for one in agent.call("GET", "/v1/history?service=billing")[1]["entries"]]
        if what == ["registered", "conflict", "accepted"]:
            return
        time.sleep(0.05)
    check(False, f"the history: {what}")


with judged():
    limpet = Agent("limpet", SERVER + "/place", "--paths", "/nerve").start()
    root = connect()
    root.ensure_path("/place")
    reader = connect("/place")
    from_nerve(limpet, reader)
    from_the_process(limpet, reader)
    for one in (root, reader):
        one.stop()
        one.close()
    limpet.stop()
