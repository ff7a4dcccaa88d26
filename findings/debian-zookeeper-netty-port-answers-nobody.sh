#!/usr/bin/env bash
# Server ZooKeeper 3.8.0 as Debian 12 packages it (zookeeper and libzookeeper-java 3.8.0-11+deb12u2), with the Netty connection
# factory, which TLS client ports need.
# Question: the server starts, binds its client port and logs no error. Does it serve clients?
# Guess: yes; a missing dependency would stop the start.
# Seen: it listens and accepts, and every connection dies in the child handler with NoClassDefFoundError, because the class path of
# the package lacks netty-codec (and netty-resolver). `srvr` gets no answer. With all of Debian's netty jars on the class path the
# same configuration serves. Needs java, apt-get, and libzookeeper-java, libnetty-java, libslf4j-java installed (their manifests name
# absolute paths); writes to a temporary folder only.
set -euo pipefail
dir="$(mktemp -d)"; trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq libzookeeper-java=3.8.0-11+deb12u2 zookeeper=3.8.0-11+deb12u2 libnetty-java 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
# The class path that /usr/share/zookeeper/bin/zkServer.sh uses, from the package's own environment file.
packaged="$(sed -n 's/^CLASSPATH="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' root/etc/zookeeper/conf_example/environment)"
echo "packaged class path: $packaged"
asked() {  # asked CLASSPATH: what `srvr` answers
  local port=$((20000 + RANDOM % 10000)) java answer=
  rm -rf data; mkdir data
  printf 'tickTime=500\ndataDir=%s/data\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n' \
    "$dir" "$port" >zk.cfg
  java -Xmx128m -Dzookeeper.serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory -cp "$1" \
    org.apache.zookeeper.server.ZooKeeperServerMain zk.cfg >zk.log 2>&1 &
  java=$!
  for _ in $(seq 120); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.5; done
  for _ in 1 2 3 4 5; do
    answer="$(exec 3<>"/dev/tcp/127.0.0.1/$port"; printf srvr >&3; timeout 5 cat <&3 2>/dev/null || true)"
    [ -z "$answer" ] || break
    sleep 1
  done
  kill "$java"; wait "$java" 2>/dev/null || true
  printf '%s' "$answer" | head -1
}
first="$(asked "$packaged:/usr/share/java/slf4j-simple.jar")"  # the logger only shows the cause
grep -o 'NoClassDefFoundError: [A-Za-z/]*' zk.log | sort | uniq -c | head -3 || true
second="$(asked "$packaged:/usr/share/java/slf4j-simple.jar:$(find root/usr/share/java -name 'netty-*.jar' | tr '\n' ':')")"
echo "srvr, class path as packaged: '${first}'"
echo "srvr, with every netty jar:   '${second}'"
[ -z "$first" ] && [ -n "$second" ] && echo "as stated" || { echo "CHANGED"; exit 1; }
