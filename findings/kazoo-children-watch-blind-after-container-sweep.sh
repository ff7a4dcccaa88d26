#!/usr/bin/env bash
# Server ZooKeeper 3.8.0 (Debian 12: libzookeeper-java 3.8.0-11+deb12u2), client kazoo 2.8.0 (python3-kazoo 2.8.0-2).
# Question: a service directory is a container znode, stands empty for a moment, is swept by the server, and is created again with
# an instance in it. Does a ChildrenWatch on it report that instance?
# Guess: yes, after an empty list or an error in between; kazoo's DataWatch and Curator's caches do recover.
# Seen: the watch ends without a word when the directory goes, and never reports again. A persistent directory has no such gap.
# The sweep runs every 60 s by default; a system property of the server shortens it here. Needs java, python3 and apt-get; writes
# to a temporary folder only.
set -euo pipefail
dir="$(mktemp -d)"; trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq libzookeeper-java=3.8.0-11+deb12u2 python3-kazoo=2.8.0-2 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
port=$((20000 + RANDOM % 10000))
printf 'tickTime=500\ndataDir=%s/data\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n' "$dir" "$port" >zk.cfg
mkdir data
java -Xmx128m -Dznode.container.checkIntervalMs=500 -Dzookeeper.extendedTypesEnabled=true \
  -cp "$(find root -name 'zookeeper*.jar' | tr '\n' ':')/usr/share/java/*" \
  org.apache.zookeeper.server.ZooKeeperServerMain zk.cfg >zk.log 2>&1 &
cat >watch.py <<'PY'
import sys, threading, time
from kazoo.client import KazooClient
from kazoo.recipe.watchers import ChildrenWatch

client = KazooClient(hosts="127.0.0.1:" + sys.argv[1], timeout=10, connection_retry={"max_tries": -1})
client.start(timeout=60)


def until(done):
    for _ in range(600):
        if done():
            return True
        time.sleep(0.1)
    return False


def run(directory, container):
    from kazoo.protocol.serialization import Create
    seen = []
    if container:
        import subprocess
        subprocess.run(sys.argv[2:] + ["create", "-c", directory], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    else:
        client.create(directory)
    client.create(directory + "/a", ephemeral=True)
    ChildrenWatch(client, directory, lambda children: seen.append(sorted(children)))
    client.delete(directory + "/a")
    if container:
        assert until(lambda: client.exists(directory) is None), "never swept"
    client.ensure_path(directory)
    client.create(directory + "/b", ephemeral=True)
    # A second watch, set now, shows that the instance is there to be seen.
    fresh = []
    ChildrenWatch(client, directory, lambda children: fresh.append(sorted(children)))
    assert until(lambda: ["b"] in fresh)
    time.sleep(3)
    return seen


persistent, container = run("/persistent", False), run("/container", True)
print("persistent directory:", persistent)
print("container, swept and created again:", container)
sys.exit(0 if ["b"] in persistent and ["b"] not in container else 1)
PY
PYTHONPATH="$(find "$PWD/root" -type d -path '*dist-packages' | head -1)" python3 watch.py "$port" \
  java -Xmx64m -cp "$(find root -name 'zookeeper*.jar' | tr '\n' ':')/usr/share/java/*" \
  org.apache.zookeeper.ZooKeeperMain -server "127.0.0.1:$port" && echo "as stated" || { tail -3 zk.log; echo "CHANGED"; exit 1; }
