"""A real limpetd for tests in Python, and what does not hold.

Arguments of the program that imports this: limpet, limpetd, one ZooKeeper server; more may follow.
"""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

LIMPET, LIMPETD, SERVER = sys.argv[1:4]
WORK = pathlib.Path(tempfile.mkdtemp(prefix="limpet-docs-"))
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("LIMPET_")}
faults = []


def check(holds, what):
    """Notes `what` where it does not hold, and goes on."""
    if not holds:
        faults.append(f"line {sys._getframe(1).f_lineno}: {what}")


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Agent:
    """One limpetd with a state of its own, and the words for talking to it."""

    def __init__(self, name, servers, *flags):
        self.directory = WORK / name
        self.directory.mkdir()
        self.state = self.directory / "state"
        self.socket = str(self.directory / "limpet.sock")
        (self.directory / "limpet.json").write_text("{} // nothing")
        self.words = [LIMPETD, "--config", str(self.directory / "limpet.json"), "--data-dir", str(self.state), "--socket",
                      self.socket, "--registrations-dir", "", "--command-checks", "true", "--zookeeper", servers, *flags]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.words, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                        stderr=open(self.directory / "log", "ab"),
                                        preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))
        for _ in range(1200):
            if os.path.exists(self.socket) and self.limpet("status").returncode == 0:
                return self
            time.sleep(0.05)
        raise RuntimeError("limpetd does not come up: " + (self.directory / "log").read_text()[-1000:])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def limpet(self, *words, **options):
        return subprocess.run([LIMPET, "--socket", self.socket, *words], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, check=False, **options)

    def call(self, method, target, body=None, headers=None):
        connection = Connection(self.socket)
        connection.request(method, target, body if isinstance(body, (str, bytes, type(None))) else json.dumps(body),
                           headers or {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        is_json = (answer.headers["Content-Type"] or "").endswith("json")
        return answer.status, json.loads(text) if is_json else text.decode(), answer.headers

    def refused(self, status, code, method, target, body=None, headers=None):
        """An error as it was promised, whole."""
        got, problem, answered = self.call(method, target, body, headers)
        where = f"{method} {target[:80]} {str(body)[:80]}: {got} {str(problem)[:200]}"
        check(got == status, f"{where}, not {status}")
        check(answered["Content-Type"] == "application/problem+json", where)
        check({"type", "title", "status", "detail", "code", "retryable"} <= set(problem), where)
        if code:
            check((problem["code"], problem["type"]) == (code, f"urn:limpet:problem:{code}"), f"{where}, not {code}")
        check(problem["status"] == status and isinstance(problem["retryable"], bool), where)
        check(("Retry-After" in answered) == (status in (429, 503, 507)), f"{where}: Retry-After")
        check(("Allow" in answered) == (status == 405), f"{where}: Allow")
        return problem


@contextlib.contextmanager
def judged():
    """At the end of it: removes what was made, says what did not hold, and ends the program."""
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", str(WORK)], check=False)
        print(*faults, sep="\n", flush=True)
    sys.exit(1 if faults else 0)
