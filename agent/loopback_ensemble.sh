# Three ZooKeeper servers on 127.0.0.1, .2 and .3, from Debian's `zookeeper` package, for agent/quickstart.sh, which
# sources this. Uses the array server_pids; everything written lies under the directory given to ensemble_prepare.

ensemble_dir=
ensemble_ports=()

# A free port between 20000 and 29999, below the range that the kernel hands out by itself.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

ensemble_prepare() {
  ensemble_dir="$1"
  local server base
  base="$(free_port)"
  ensemble_ports=("$base" "$base" "$base")
  for server in 0 1 2; do
    mkdir -p "$ensemble_dir/zk$server"
    echo "$((server + 1))" >"$ensemble_dir/zk$server/myid"
    cat >"$ensemble_dir/zk$server.cfg" <<CFG
tickTime=500
initLimit=20
syncLimit=10
dataDir=$ensemble_dir/zk$server
clientPort=${ensemble_ports[$server]}
clientPortAddress=127.0.0.$((server + 1))
admin.enableServer=false
4lw.commands.whitelist=srvr
server.1=127.0.0.1:$((base + 1)):$((base + 2))
server.2=127.0.0.2:$((base + 1)):$((base + 2))
server.3=127.0.0.3:$((base + 1)):$((base + 2))
CFG
  done
}

ensemble_hosts() { echo "127.0.0.1:${ensemble_ports[0]},127.0.0.2:${ensemble_ports[1]},127.0.0.3:${ensemble_ports[2]}"; }

# Does nothing where the server runs.
ensemble_start() {
  local server="$1"
  [ -n "${server_pids[$server]}" ] && return 0
  java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
    -cp /usr/share/java/zookeeper.jar org.apache.zookeeper.server.quorum.QuorumPeerMain \
    "$ensemble_dir/zk$server.cfg" >>"$ensemble_dir/zk$server.log" 2>&1 &
  server_pids[$server]=$!
  disown "${server_pids[$server]}"
}

ensemble_kill() {
  local server="$1"
  kill -KILL "${server_pids[$server]}"
  while kill -0 "${server_pids[$server]}" 2>/dev/null; do sleep 0.05; done
  server_pids[$server]=
}

# What the server says to `srvr`, or nothing.
ensemble_ask() {
  local server="$1"
  (
    exec 3<>"/dev/tcp/127.0.0.$((server + 1))/${ensemble_ports[$server]}" || exit 0
    printf srvr >&3
    timeout 2 cat <&3
  ) 2>/dev/null || true
}

# The number of the leader; empty where there is none.
ensemble_leader() {
  local server
  for server in 0 1 2; do
    if ensemble_ask "$server" | grep -q '^Mode: leader'; then
      echo "$server"
      return
    fi
  done
}

# Waits until all that were started serve.
ensemble_wait_serving() {
  local server serving
  for _ in $(seq 600); do
    serving=0
    for server in 0 1 2; do
      ensemble_ask "$server" | grep -q '^Mode: ' && serving=$((serving + 1))
    done
    [ "$serving" -eq 3 ] && return 0
    sleep 0.1
  done
  return 1
}
