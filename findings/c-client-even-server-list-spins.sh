#!/usr/bin/env bash
# Library: ZooKeeper C client 3.8.0 (Debian 12: libzookeeper-mt2 3.8.0-11+deb12u2).
# Question: how much CPU does a client use while every server of its list refuses connections?
# Guess: next to none for any list, because a failed round is followed by a delay.
# Seen: lists of 1 and 3 servers use a few ms of CPU in 3 s; lists of 2 and 4 use a whole core, and half of the servers are never
# tried. A failed connect advances the cursor twice, so with an even list the end of a round, where the delay is set, is skipped.
# A client that repeats one entry to make the list odd is cured. Needs gcc and apt-get; writes to a temporary folder only.
set -euo pipefail
dir="$(mktemp -d)"; trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq libzookeeper-mt2=3.8.0-11+deb12u2 libzookeeper-mt-dev=3.8.0-11+deb12u2
for package in *.deb; do dpkg -x "$package" root; done
library="$(dirname "$(find root -name 'libzookeeper_mt.so.2' | head -1)")"
cat >spin.c <<'C'
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>
static void watch(zhandle_t* z, int type, int state, const char* path, void* context) {
  (void)z, (void)type, (void)state, (void)path, (void)context;
}
int main(int argc, char** argv) {
  struct rusage used;
  zoo_set_debug_level(0);
  if (argc != 2 || !zookeeper_init(argv[1], watch, 10000, 0, 0, 0)) return 1;
  sleep(3);
  getrusage(RUSAGE_SELF, &used);
  printf("%ld\n", (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000);
  fflush(stdout);
  _exit(0);
}
C
gcc -DTHREADED -Iroot/usr/include spin.c -o spin -L"$library" -l:libzookeeper_mt.so.2 -Wl,-rpath,"$PWD/$library"
declare -A cpu
servers=
for count in 1 2 3 4; do
  servers="${servers:+$servers,}127.0.0.$count:1"  # port 1: refused at once
  cpu[$count]="$(./spin "$servers")"
  echo "$count servers, all refused: ${cpu[$count]} ms of CPU in 3 s"
done
# A tenth of the even list's figure separates the two on any machine.
[ $((cpu[1] * 10)) -lt "${cpu[2]}" ] && [ $((cpu[3] * 10)) -lt "${cpu[4]}" ] && echo "as stated" || { echo "CHANGED"; exit 1; }
