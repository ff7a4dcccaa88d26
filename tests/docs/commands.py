"""Runs what the documentation tells its readers to type, against the real agent and the real ZooKeeper.

Arguments: the source directory, limpet, limpetd, the servers. Of README.md and agent/docs/*.md, page by page and in the
order of the page, with an agent, a state and a place in ZooKeeper for each page:

  ```sh                 run by bash; any command that fails is a fault. A line that ends in "# until Ctrl-C" is a command
                        that has to go on for a second and is interrupted then. `curl` fails where the agent refuses.
  ```sh stopped         the same with the agent stopped
  ```sh install         only looked at: bash takes it, its programs are known, and what it says to limpet and limpetd
                        are options and commands that they have. This holds for what stands in `…` as well, and for
                        the examples of `limpet COMMAND --help`.
  ```json config        limpetd --check-config says that it is good
  ```json registration  as a file of registrations.d it is taken
  ```json               is JSON

The places of the real world stand for those of a sandbox (see Sandbox.real). Says what is wrong, and ends with 1 then.
"""

import ctypes
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(sys.argv[1])
LIMPET, LIMPETD, SERVERS = sys.argv[2:5]
# Programs of Debian's that a reader runs where this test may have none.
ELSEWHERE = {"sudo", "systemctl", "journalctl", "apt", "apt-get", "dpkg", "dpkg-query", "cmake", "cpack", "debconf",
             "usermod", "adduser", "groupadd", "promtool", "docker", "chmod", "lintian"}
# Exit statuses other than 0 that are an answer, not a failure.
ANSWERS = {"limpet doctor": {1}}  # something is wrong on this host; it says what

faults = []


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Sandbox:
    """One agent, and the directory that it lives in."""

    def __init__(self, name):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="limpet-docs-"))
        for part in ("bin", "etc", "etc/registrations.d", "run", "work"):
            (self.directory / part).mkdir(mode=0o755)
        self.place("bin/limpet", f'#!/bin/sh\nexec {shlex.quote(LIMPET)} "$@"\n', 0o755)
        self.place("bin/limpetd", f'#!/bin/sh\nexec {shlex.quote(LIMPETD)} "$@"\n', 0o755)
        self.place("bin/curl", '#!/bin/sh\ncase " $* " in *" -sf "*) exec /usr/bin/curl "$@" ;; esac\n'
                   'exec /usr/bin/curl --fail-with-body "$@"\n', 0o755)
        self.place("bin/sudo", '#!/bin/sh\nexec "$@"\n', 0o755)
        for program in ("java", "python3"):  # the reader's own programs, which live until they are ended
            self.place(f"bin/{program}", "#!/bin/sh\nexec sleep 1000\n", 0o755)
        self.place("etc/zookeeper", "limpet:secret\n", 0o600)
        self.servers = f"{SERVERS}/{name}"
        self.place("etc/limpet.json", json.dumps({"zookeeper": self.servers, "paths": ["/nerve", "/dubbo"]}), 0o644)
        self.bystander = subprocess.Popen(["sleep", "1000"], preexec_fn=die_with_parent)
        self.agent = None

    def place(self, name, content, mode):
        path = self.directory / name
        path.write_text(content, encoding="utf-8")
        path.chmod(mode)

    def real(self, text):
        """What stands for the places that the documentation speaks of."""
        for said, meant in (
            ("/run/limpet/limpet.sock", f"{self.directory}/run/limpet.sock"),
            ("/var/lib/limpet", f"{self.directory}/state"),
            ("/etc/limpet", f"{self.directory}/etc"),
            ("build/agent/limpetd", shlex.quote(LIMPETD)),
            ("build/agent/limpet", shlex.quote(LIMPET)),
            ("zk1:2181,zk2:2181,zk3:2181", self.servers),
            ("4321", str(self.bystander.pid)),
            ('"user": "deploy"', '"user": "root"'),  # those that there are everywhere
            ('"group": "ops"', '"group": "root"'),
        ):
            text = text.replace(said, meant)
        return text

    def environment(self):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LIMPET_")}
        return {**kept, "PATH": f"{self.directory}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LIMPET_SOCKET": f"{self.directory}/run/limpet.sock", "LC_ALL": "C.UTF-8"}

    def run(self, words, **options):
        return subprocess.run(words, env=self.environment(), cwd=self.directory / "work", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                              start_new_session=True, check=False, **options)

    def start(self):
        log = open(self.directory / "log", "a", encoding="utf-8")
        etc = self.directory / "etc"
        self.agent = subprocess.Popen(
            [LIMPETD, "--config", f"{etc}/limpet.json", "--registrations-dir", f"{etc}/registrations.d", "--data-dir",
             f"{self.directory}/state", "--socket", f"{self.directory}/run/limpet.sock"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        for _ in range(600):
            status = self.run(["limpet", "--json", "status"])
            if status.returncode == 0 and json.loads(status.stdout)["zookeeper"]["state"] == "connected":
                return
            time.sleep(0.1)
        raise RuntimeError("the agent does not come up: " + (self.directory / "log").read_text()[-2000:])

    def stop(self):
        if self.agent:
            self.agent.terminate()
            self.agent.wait(60)
            self.agent = None

    def remove(self):
        if self.agent:
            self.agent.kill()
            self.agent.wait()
        self.bystander.kill()
        self.bystander.wait()
        subprocess.run(["rm", "-rf", self.directory], check=True)


PRELUDE = """set -eEu -o pipefail
trap 'echo "<< this failed: $BASH_COMMAND >>"' ERR
until_interrupted() {
  local status=0
  timeout --preserve-status -k 60 -s INT 1 "$@" || status=$?
  [ "$status" = 0 ] || [ "$status" = 130 ]
}
answers() {
  local wanted="$1" status=0
  shift
  "$@" || status=$?
  [ "$status" = 0 ] || [[ " $wanted " = *" $status "* ]]
}
"""


def script_of(block):
    lines = []
    for line in block.splitlines():
        if re.search(r"#\s*until Ctrl-C\s*$", line):
            line = "until_interrupted " + re.sub(r"\s*#\s*until Ctrl-C\s*$", "", line)
        for command, statuses in ANSWERS.items():
            if re.match(rf"(sudo )?{command}( |$)", line) and "|" not in line:
                line = f"answers '{' '.join(map(str, statuses))}' {line}"
        lines.append(line)
    return PRELUDE + "\n".join(lines) + "\n"


def run_block(sandbox, place, block):
    outcome = sandbox.run(["bash", "-c", sandbox.real(script_of(block))])
    if outcome.returncode != 0:
        faults.append(f"{place}: exit {outcome.returncode}\n{outcome.stdout[-1500:]}")


# ---- What is only looked at

helps = {}


def help_of(program, *verb):
    if (program, *verb) not in helps:
        path = LIMPET if program == "limpet" else LIMPETD
        helps[(program, *verb)] = subprocess.run([path, *verb, "--help"], capture_output=True, text=True, check=False).stdout
    return helps[(program, *verb)]


def verbs():
    listed = re.search(r"^Commands:\n(.*?)\n\n", help_of("limpet"), flags=re.M | re.S).group(1)
    return set(re.findall(r"^  (\S+)", listed, flags=re.M))


def look_at_call(place, program, words):
    """Of `limpet …` or `limpetd …`: the verb is there, and so are the options."""
    words = words[: words.index("--")] if "--" in words else words
    options = [word.split("=")[0] for word in words if word.startswith("-") and word != "-"]
    known = help_of(program)
    if program == "limpet":
        plain = [word for word in words if not word.startswith("-")]
        verb = next((word for word in plain if word in verbs()), None)
        if verb is None and plain and not options:
            faults.append(f"{place}: limpet has no command {plain[0]}")
        known += help_of("limpet", verb) if verb else ""
    for option in options:
        if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known):
            faults.append(f"{place}: {program} has no option {option}: {' '.join(words)}")


def calls_in(text):
    """The simple commands of a script, roughly: what stands between the signs that part commands."""
    text = re.sub(r"\\\n", " ", text)
    for line in text.splitlines():
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:
            continue  # a quotation over several lines
        command = []
        for word in [*words, ";"]:
            if re.fullmatch(r"[|&;()<>]+", word):
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def look_at(place, text, programs_too):
    for words in calls_in(text):
        while words and (re.fullmatch(r"\w+=.*", words[0]) or words[0] in ("sudo", "exec", "export", "if", "then", "do")):
            words = words[1:]
        if not words:
            continue
        program = words[0].rsplit("/", 1)[-1]
        if program in ("limpet", "limpetd"):
            look_at_call(place, program, words[1:])
        elif programs_too and program not in ELSEWHERE:
            if subprocess.run(["bash", "-c", f"command -v -- {shlex.quote(words[0])}"], capture_output=True,
                              check=False).returncode != 0:
                faults.append(f"{place}: there is no program {words[0]}")
        if program in ("bash", "sh") and len(words) > 1 and not words[1].startswith("-"):
            if not (SOURCE / words[1]).exists():
                faults.append(f"{place}: there is no script {words[1]}")


def look_at_install(place, block):
    checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        faults.append(f"{place}: {checked.stderr}")
    look_at(place, block, programs_too=True)


def look_at_examples():
    """What the helps, and so the man pages, give as examples."""
    for verb in [(), *((one,) for one in sorted(verbs()))]:
        text = help_of("limpet", *verb)
        examples = re.search(r"^Examples?:\n((?:  .*\n)+)", text, flags=re.M)
        if examples:
            look_at(f"limpet {' '.join(verb)} --help", examples.group(1), programs_too=False)
        elif verb:
            faults.append(f"limpet {verb[0]} --help has no example")


# ---- Pages

def blocks_of(text):
    """(line, what the fence says, content) of each block."""
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.M | re.S):
        yield text[: match.start()].count("\n") + 1, match.group(1).strip(), match.group(2)


def check_json(sandbox, place, kind, block):
    try:
        json.loads(block)
    except ValueError as error:
        faults.append(f"{place}: {error}")
        return
    if kind == "json config":
        sandbox.place("work/config.json", sandbox.real(block), 0o644)
        outcome = sandbox.run([LIMPETD, "--check-config", "--config", "config.json"])
        if outcome.returncode != 0:
            faults.append(f"{place}: {outcome.stdout}")


def check_registrations(sandbox, place, blocks):
    """Puts them all there, and takes them away again."""
    directory = sandbox.directory / "etc/registrations.d"
    for line, block in blocks:
        sandbox.place(f"etc/registrations.d/line-{line}.json", block, 0o644)
    report = json.loads(sandbox.run(["limpet", "--json", "reload"]).stdout)["registrations_d"]
    if report["errors"] or report["added"] < len(blocks):
        faults.append(f"{place}: registrations by file: {report}")
    for file in directory.iterdir():
        file.unlink()
    sandbox.run(["limpet", "--json", "reload", "--force"])


def check_page(page):
    text = page.read_text(encoding="utf-8")
    blocks = list(blocks_of(text))
    sandbox = Sandbox(page.stem)
    try:
        sandbox.start()
        files = [(line, block) for line, kind, block in blocks if kind == "json registration"]
        if files:
            check_registrations(sandbox, page.name, files)
        for line, kind, block in blocks:
            place = f"{page.name}:{line}"
            if kind in ("sh", "sh stopped"):
                look_at(place, block, programs_too=False)
            if kind == "sh":
                run_block(sandbox, place, block)
            elif kind == "sh stopped":
                sandbox.stop()
                run_block(sandbox, place, block)
                sandbox.start()
            elif kind == "sh install":
                look_at_install(place, block)
            elif kind == "ini":
                look_at(place, re.sub(r"^Exec\w+=", "", block, flags=re.M), programs_too=False)
            elif kind.startswith("json"):
                check_json(sandbox, place, kind, block)
            elif kind.split(" ")[0] in ("", "bash", "shell", "console"):
                faults.append(f"{place}: ```{kind} is not a kind of block that is looked at; text is, for what is not run")
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        for span in re.findall(r"`((?:sudo )?limpetd? [^`]*)`", prose):
            look_at(f"{page.name}, `{span}`", span, programs_too=False)
    finally:
        sandbox.remove()
    return sum(kind.startswith("sh") for _, kind, _ in blocks)


count = 0
for one in [SOURCE / "README.md", *sorted(SOURCE.glob("agent/docs/*.md"))]:
    count += check_page(one)
look_at_examples()
for fault in faults:
    print(fault)
print(f"{count} blocks of commands, {len(faults)} faults")
sys.exit(1 if faults else 0)
