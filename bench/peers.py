"""What is measured, as processes: limpetd, Redis, three ZooKeeper servers, and the programs that measure them.

Everything lies in one temporary directory on a real file system, and ends with the program.
"""
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Bench:
    """Where programs are, where state goes, and what has to be stopped in the end."""

    def __init__(self, build, directory):
        self.build = os.path.abspath(build)
        self.directory = tempfile.mkdtemp(prefix="limpet-bench-", dir=directory)
        self.processes = []
        self.count = 0

    def path(self, name):
        return os.path.join(self.directory, name)

    def new_path(self, name):
        self.count += 1
        return self.path(f"{name}-{self.count}")

    def program(self, name):
        return os.path.join(self.build, "agent" if name == "limpetd" else "bench", name)

    def start(self, command, log):
        out = open(self.path(log), "ab")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        out.close()
        self.processes.append(process)
        return process

    def stop(self, process, how=signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def run(self, name, *arguments, timeout=900):
        """Runs one of bench's programs and returns what it prints, the last line of JSON."""
        done = subprocess.run([self.program(name), *map(str, arguments)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"{name} {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def begin(self, name, *arguments):
        """The same, in the background: result() ends it."""
        process = subprocess.Popen([self.program(name), *map(str, arguments)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def result(self, process, timeout=120):
        out, error = process.communicate(timeout=timeout)
        self.processes.remove(process)
        if process.returncode != 0:
            raise RuntimeError(f"{process.args}: {error.strip()}")
        return json.loads(out.strip().splitlines()[-1])

    def close(self):
        for process in list(self.processes):
            self.stop(process)
        shutil.rmtree(self.directory, ignore_errors=True)


def wait_until(condition, what, seconds=60.0, glance=0.002):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(glance)


class Redis:
    """Redis as it must be run for what it says to be durable: an fsync before each answer."""

    def __init__(self, bench):
        self.bench = bench
        directory = bench.new_path("redis")
        os.makedirs(directory)
        self.socket = os.path.join(directory, "sock")
        self.process = bench.start(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--appendonly", "yes", "--appendfsync",
             "always", "--save", "", "--auto-aof-rewrite-percentage", "0", "--dir", directory], "redis.log")
        wait_until(lambda: accepts(self.socket), "Redis")

    def stop(self):
        self.bench.stop(self.process)


def accepts(path):
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            return True
        except OSError:
            return False


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Agent:
    """limpetd, with its default settings."""

    def __init__(self, bench, hosts="127.0.0.1:1", name=None, root="/services", wrapper=(), start=True):
        self.bench = bench
        self.hosts = hosts
        self.root = root
        self.wrapper = list(wrapper)
        base = name or bench.new_path("agent")
        self.directory = os.path.join(bench.directory, base)
        os.makedirs(self.directory, exist_ok=True)
        self.socket = os.path.join(self.directory, "sock")
        self.config = os.path.join(self.directory, "limpet.json")
        with open(self.config, "w") as file:
            file.write("{}\n")
        self.process = None
        if start:
            self.start()

    def command(self):
        return [*self.wrapper, self.bench.program("limpetd"), "--config", self.config, "--zookeeper", self.hosts,
                "--data-dir", os.path.join(self.directory, "state"), "--socket", self.socket, "--root", self.root,
                "--log-level", "warn"]

    def start(self):
        began = time.monotonic()
        self.process = self.bench.start(self.command(), os.path.join(self.directory, "log"))
        wait_until(lambda: self.serves(), "limpetd to serve", glance=0.0005)
        return time.monotonic() - began

    def serves(self):
        if not accepts(self.socket):
            if self.process.poll() is not None:
                with open(os.path.join(self.directory, "log")) as log:
                    raise RuntimeError(f"limpetd ended: {log.read()[-500:]}")
            return False
        return self.get("/readyz") is not None

    def ask(self, method, target, body=None):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, target, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, text
        finally:
            connection.close()

    def get(self, target):
        try:
            status, text = self.ask("GET", target)
        except OSError:
            return None
        return json.loads(text) if status == 200 else None

    def status(self):
        return self.get("/v1/status")

    def register(self, count, service="bench", first=0, data_bytes=200, batch=500):
        for begin in range(first, first + count, batch):
            operations = [{"op": "register", "service": service, "instance": f"i-{i}", "data": "x" * data_bytes}
                          for i in range(begin, min(first + count, begin + batch))]
            status, text = self.ask("POST", "/v1/batch", {"operations": operations})
            if status not in (200, 202):
                raise RuntimeError(f"the agent refused: {text[:300]}")

    def wait_settled(self, seconds=60.0):
        wait_until(lambda: self.status()["queue"]["depth"] == 0, "the queue to be empty", seconds, 0.01)

    def cpu_s(self):
        """Processor time of all threads so far, also of those that have ended: clock_getcpuclockid(3) by hand."""
        return time.clock_gettime(((~self.process.pid) << 3) | 2)

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def disk_bytes(self):
        total = 0
        for base, _, files in os.walk(os.path.join(self.directory, "state")):
            for name in files:
                try:
                    total += os.stat(os.path.join(base, name)).st_blocks * 512
                except OSError:
                    pass
        return total

    def stop(self, how=signal.SIGTERM):
        self.bench.stop(self.process, how)


class Ensemble:
    """Three ZooKeeper servers on 127.0.0.1, .2 and .3, from Debian's package."""

    def __init__(self, bench, tick_ms=500):
        self.bench = bench
        self.directory = bench.new_path("zookeeper")
        self.base = random.randrange(20_000, 29_990)
        self.servers = [None, None, None]
        for server in range(3):
            data = os.path.join(self.directory, str(server))
            os.makedirs(data)
            with open(os.path.join(data, "myid"), "w") as file:
                file.write(str(server + 1))
            with open(self.config(server), "w") as file:
                file.write(f"tickTime={tick_ms}\ninitLimit=20\nsyncLimit=10\ndataDir={data}\n"
                           f"clientPort={self.base}\nclientPortAddress=127.0.0.{server + 1}\nmaxClientCnxns=0\n"
                           "admin.enableServer=false\n4lw.commands.whitelist=srvr,mntr,wchs\n")
                for other in range(3):
                    file.write(f"server.{other + 1}=127.0.0.{other + 1}:{self.base + 1}:{self.base + 2}\n")

    def config(self, server):
        return os.path.join(self.directory, f"{server}.cfg")

    @property
    def hosts(self):
        return ",".join(f"127.0.0.{server + 1}:{self.base}" for server in range(3))

    def start(self, wait=True):
        for server in range(3):
            if self.servers[server] is None:
                self.servers[server] = self.bench.start(
                    ["java", "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-cp",
                     "/usr/share/java/zookeeper.jar", "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                     self.config(server)], f"zookeeper-{server}.log")
        if wait:
            wait_until(self.serves, "three ZooKeeper servers", glance=0.05)

    def kill(self):
        for server, process in enumerate(self.servers):
            if process is not None:
                self.bench.stop(process)
                self.servers[server] = None

    def ask(self, server, word):
        try:
            with socket.create_connection((f"127.0.0.{server + 1}", self.base), 1) as connection:
                connection.sendall(word.encode())
                text = b""
                while chunk := connection.recv(65536):
                    text += chunk
                return text.decode()
        except OSError:
            return ""

    def serves(self):
        return all("Mode: " in self.ask(server, "srvr") for server in range(3))

    def zxid(self):
        """The newest transaction of any server: the difference of two is how many there were between."""
        newest = 0
        for server in range(3):
            for line in self.ask(server, "srvr").splitlines():
                if line.startswith("Zxid: "):
                    newest = max(newest, int(line.split()[1], 16))
        return newest
