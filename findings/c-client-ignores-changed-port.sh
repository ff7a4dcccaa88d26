#!/usr/bin/env bash
# Library: ZooKeeper C client 3.8.0 (Debian 12: libzookeeper-mt2 3.8.0-11+deb12u2).
# Question: zoo_set_servers() with a list in which only the port changed: does the client go there?
# Guess: yes; it returns ZOK, and an address without its port names no server.
# Seen: ZOK, and the client keeps connecting to the old port for ever: addresses are compared without their ports, so the new
# list counts as unchanged. A server that moves to another port needs a new handle. Needs gcc, python3 and apt-get; writes to a
# temporary folder only.
set -euo pipefail
dir="$(mktemp -d)"; trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq libzookeeper-mt2=3.8.0-11+deb12u2 libzookeeper-mt-dev=3.8.0-11+deb12u2
for package in *.deb; do dpkg -x "$package" root; done
library="$(dirname "$(find root -name 'libzookeeper_mt.so.2' | head -1)")"
# Two listeners that count who connects, and hang up.
cat >listen.py <<'PY'
import socket, sys
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
while True:
    listener.accept()[0].close()
    print("visit", flush=True)
PY
for name in old other; do
  python3 listen.py 127.0.0.1 >"$name" &
  until [ -s "$name" ]; do sleep 0.1; done
done
python3 listen.py 127.0.0.2 >host &
until [ -s host ]; do sleep 0.1; done
cat >move.c <<'C'
#include <stdio.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>
static void watch(zhandle_t* z, int type, int state, const char* path, void* context) {
  (void)z, (void)type, (void)state, (void)path, (void)context;
}
int main(int argc, char** argv) {
  zoo_set_debug_level(0);
  zhandle_t* z = argc == 3 ? zookeeper_init(argv[1], watch, 10000, 0, 0, 0) : 0;
  if (!z) return 1;
  sleep(2);
  printf("zoo_set_servers: %d\n", zoo_set_servers(z, argv[2]));
  fflush(stdout);
  sleep(6);
  _exit(0);
}
C
gcc -DTHREADED -Iroot/usr/include move.c -o move -L"$library" -l:libzookeeper_mt.so.2 -Wl,-rpath,"$PWD/$library"
port() { head -1 "$1"; }
visits() { grep -c visit "$1" || true; }
./move "127.0.0.1:$(port old)" "127.0.0.1:$(port other)"
echo "only the port changed: $(visits old) visits to the old port, $(visits other) to the new one"
./move "127.0.0.1:$(port old)" "127.0.0.2:$(port host)"
echo "another address: $(visits host) visits to it"
[ "$(visits other)" -eq 0 ] && [ "$(visits host)" -gt 0 ] && echo "as stated" || { echo "CHANGED"; exit 1; }
