"""The remedy that limpet replaces: registrations kept in Redis, and drained into ZooKeeper by kazoo, one by one.

    known_remedy.py fill SOCKET COUNT BYTES     puts registrations into Redis
    known_remedy.py drain SOCKET HOSTS PARENT   waits for ZooKeeper, creates them in order, prints JSON
"""
import json
import socket
import sys
import time


class RedisClient:
    """As much of Redis's protocol as is needed here."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        text = f"*{len(words)}\r\n".encode()
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            text += f"${len(data)}\r\n".encode() + data + b"\r\n"
        self.socket.sendall(text)
        return self.answer()

    def answer(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest


def fill(path, count, size):
    redis = RedisClient(path)
    redis.call("DEL", "pending")
    for i in range(count):
        redis.call("RPUSH", "pending", json.dumps({"name": f"i-{i}", "data": "x" * size}))
    print(json.dumps({"count": count}))


def drain(path, hosts, parent):
    from kazoo.client import KazooClient
    redis = RedisClient(path)
    client = KazooClient(hosts, timeout=10)
    client.start(60)
    client.ensure_path(parent)
    began = time.monotonic()
    count = 0
    while (entry := redis.call("LINDEX", "pending", 0)) is not None:
        registration = json.loads(entry)
        client.create(f"{parent}/{registration['name']}", registration["data"].encode(), ephemeral=True)
        redis.call("LPOP", "pending")
        count += 1
    ended = time.monotonic()
    print(json.dumps({"count": count, "seconds": ended - began, "rate": count / (ended - began), "at": ended}))
    client.stop()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        drain(*sys.argv[2:5])
