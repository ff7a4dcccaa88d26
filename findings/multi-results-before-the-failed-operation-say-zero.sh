#!/usr/bin/env bash
# Library: ZooKeeper C client 3.8.0 (Debian 12: libzookeeper-mt2 3.8.0-11+deb12u2); server 3.8.0 of the same release.
# Question: a transaction of three creates, of which the second fails: which results do the operations carry?
# Guess: the first says that it was rolled back, so a loop over the results finds every operation that was not applied.
# Seen: zoo_multi() returns the code of the second (-110); the results are 0, -110, -2. The first says ZOK although its znode does
# not exist. Only the return code tells that nothing was applied; a loop that takes err == ZOK for "applied" is wrong. Needs gcc,
# java and apt-get, and libzookeeper-java installed; writes to a temporary folder only.
set -euo pipefail
dir="$(mktemp -d)"; trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq libzookeeper-mt2=3.8.0-11+deb12u2 libzookeeper-mt-dev=3.8.0-11+deb12u2 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
library="$(dirname "$(find root -name 'libzookeeper_mt.so.2' | head -1)")"
port=$((20000 + RANDOM % 10000))
mkdir data
printf 'tickTime=500\ndataDir=%s/data\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n' "$dir" "$port" >zk.cfg
java -Xmx256m -cp /usr/share/java/zookeeper.jar org.apache.zookeeper.server.ZooKeeperServerMain zk.cfg >zk.log 2>&1 &
cat >results.c <<'C'
#include <stdio.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>
static void watch(zhandle_t* z, int type, int state, const char* path, void* context) {
  (void)z, (void)type, (void)state, (void)path, (void)context;
}
int main(int argc, char** argv) {
  zoo_set_debug_level(0);
  if (argc != 2) return 1;
  zhandle_t* z = zookeeper_init(argv[1], watch, 30000, 0, 0, 0);
  while (zoo_state(z) != ZOO_CONNECTED_STATE) usleep(10000);
  zoo_create(z, "/taken", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
  zoo_op_t ops[3];
  zoo_op_result_t results[3];
  const char* paths[3] = {"/first", "/taken", "/third"};
  for (int i = 0; i < 3; ++i) zoo_create_op_init(&ops[i], paths[i], "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
  const int rc = zoo_multi(z, 3, ops, results);
  const int exists = zoo_exists(z, "/first", 0, 0);
  printf("zoo_multi %d; results %d %d %d; exists(/first) %d\n", rc, results[0].err, results[1].err, results[2].err, exists);
  fflush(stdout);
  _exit(rc == ZNODEEXISTS && results[0].err == ZOK && results[2].err == ZRUNTIMEINCONSISTENCY && exists == ZNONODE ? 0 : 1);
}
C
gcc -DTHREADED -Iroot/usr/include results.c -o results -L"$library" -l:libzookeeper_mt.so.2 -Wl,-rpath,"$PWD/$library"
timeout 120 ./results "127.0.0.1:$port" && echo "as stated" || { echo "CHANGED"; exit 1; }
