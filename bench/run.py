"""Runs the measurements and writes results; see bench/README.md. bench/run.sh calls it with everything built."""
import argparse
import json
import os
import platform
import subprocess
import sys
import time

import charts
import report
from peers import Bench
from sections import SECTIONS, Plan


def machine():
    model = ""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 2**20
    return {"processor": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "kernel": platform.release(),
            "load_before": round(os.getloadavg()[0], 2)}


def main():
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only shows that all programs work; its figures mean nothing")
    parser.add_argument("--long", action="store_true", help="ten million changes instead of one")
    parser.add_argument("--only", default="", help=f"some of: {','.join(SECTIONS)}")
    parser.add_argument("--build", required=True, help="the build directory")
    parser.add_argument("--directory", default=None, help="where state goes: a real file system, not memory")
    parser.add_argument("--results", default="", help="where results go; BUILD/bench-results if left out")
    arguments = parser.parse_args()
    wanted = [name for name in arguments.only.split(",") if name] or list(SECTIONS)
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]}; there are {', '.join(SECTIONS)}")
    results = arguments.results or os.path.join(arguments.build, "bench-results")
    plan = Plan(arguments.quick, arguments.long)
    bench = Bench(arguments.build, arguments.directory)
    found = {"machine": machine(), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
             "quick": arguments.quick, "sections": {}}
    failed = False
    try:
        for name in wanted:
            began = time.monotonic()
            print(f"{name} …", end=" ", flush=True)
            try:
                found["sections"][name] = SECTIONS[name](bench, plan)
                print(f"{time.monotonic() - began:.0f} s", flush=True)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                failed = True
                print(f"failed: {error}", flush=True)
    finally:
        bench.close()
    print()
    print(report.table(found))
    if not arguments.quick:
        keep(found, results, bool(arguments.only))
    return 1 if failed else 0


def keep(found, directory, partly):
    """Writes results.json, table.md and the charts. Sections measured by --only replace those of the last whole run."""
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "results.json")
    if partly and os.path.exists(path):
        with open(path) as file:
            before = json.load(file)
        before["sections"].update(found["sections"])
        found = {**before, "partly_at": found["at"]}
    with open(path, "w") as file:
        json.dump(found, file, indent=1, sort_keys=True)
        file.write("\n")
    with open(os.path.join(directory, "table.md"), "w") as file:
        file.write(report.table(found, markdown=True))
    charts.draw(found, directory)


if __name__ == "__main__":
    sys.exit(main())
