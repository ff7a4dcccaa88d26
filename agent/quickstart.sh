#!/usr/bin/env bash
# limpet in one command: installs what it needs, builds, runs the agent against a ZooKeeper ensemble, takes the ensemble
# away, and shows that nothing accepted meanwhile was lost, nor out of order. On Debian 12 or 13, as root or with sudo.
#
#   bash agent/quickstart.sh          shows it, then leaves the agent running until Ctrl-C
#   bash agent/quickstart.sh --once   shows it, then ends
#
# LIMPET_ZOOKEEPER names an ensemble to use instead of three servers on loopback; then nothing is killed there.
# LIMPET_BUILD_DIR names another build directory than build/; one that is configured already stays as it is configured.
# Everything that it writes lies in a temporary directory, which it removes, and in the build directory.
set -euo pipefail
exec </dev/null
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$here/agent/packages.sh"
. "$here/agent/configure.sh"

once=
case "${1:-}" in
  --once) once=1 ;;
  "") ;;
  *) echo "usage: bash agent/quickstart.sh [--once]" >&2; exit 2 ;;
esac

say() { printf '\n== %s\n' "$*"; }
now() { date +%T; }

# ---- Build

# shellcheck disable=SC2086
install_packages $LIMPET_BUILD_PACKAGES $LIMPET_ZOOKEEPER_PACKAGES
say "building limpet"
if [ -n "${LIMPET_BUILD_DIR:-}" ] && [ -e "$LIMPET_BUILD_DIR/CMakeCache.txt" ]; then
  build="$(cd "$LIMPET_BUILD_DIR" && pwd -P)"
else
  configure_build "$here" "${LIMPET_BUILD_DIR:-$here/build}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLIMPET_TESTS=OFF \
    -DLIMPET_SANITIZE= -DLIMPET_FUZZ=OFF -DLIMPET_FAST_COMPILE=ON -DLIMPET_WERROR="${LIMPET_WERROR:-OFF}"
fi
cmake --build "$build" -j "$(build_jobs)" --target limpetd limpet | tail -n 1
limpetd="$build/agent/limpetd"

# ---- What has to go at the end, whatever happens

work="$(mktemp -d /tmp/limpet-quickstart-XXXXXX)"
export LIMPET_SOCKET="$work/limpet.sock"
agent_pid=
server_pids=("" "" "")
cleanup() {
  trap - EXIT INT TERM
  [ -n "$agent_pid" ] && kill -KILL "$agent_pid" 2>/dev/null
  for pid in "${server_pids[@]}"; do
    [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
  done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

limpet() { "$build/agent/limpet" "$@"; }

# ---- ZooKeeper: three servers on loopback, unless one is named

. "$here/agent/loopback_ensemble.sh"
if [ -n "${LIMPET_ZOOKEEPER:-}" ]; then
  zookeeper="$LIMPET_ZOOKEEPER"
  own_ensemble=
  say "using the ensemble $zookeeper; it is yours, so nothing is killed there"
else
  own_ensemble=1
  say "starting three ZooKeeper servers on loopback"
  ensemble_prepare "$work"
  for server in 0 1 2; do ensemble_start "$server"; done
  ensemble_wait_serving || { echo "the ZooKeeper servers do not come up; see $work" >&2; exit 1; }
  zookeeper="$(ensemble_hosts)"
  echo "serving at $zookeeper; the leader is server $(ensemble_leader)"
fi

# ---- The agent

start_agent() {
  "$limpetd" --zookeeper "$zookeeper" --data-dir "$work/state" --socket "$LIMPET_SOCKET" --root "$root" \
    2>>"$work/limpetd.log" &
  agent_pid=$!
  disown "$agent_pid"
  for _ in $(seq 300); do
    [ -S "$LIMPET_SOCKET" ] && limpet status >/dev/null 2>&1 && return 0
    kill -0 "$agent_pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "limpetd does not come up:" >&2
  tail -n 5 "$work/limpetd.log" >&2
  exit 1
}

names=()
declare -A accepted_at accepted_while
register() {  # NAME WHILE
  limpet register demo "$1" --address 127.0.0.1 --port 8080 >/dev/null
  names+=("$1")
  accepted_at[$1]="$(now)"
  accepted_while[$1]="$2"
  echo "  $(now)  accepted demo/$1"
}

# A root of its own, so that a second run in somebody's ensemble starts clean.
root="/limpet-quickstart-$$"
say "starting the agent: limpetd --zookeeper $zookeeper --socket $LIMPET_SOCKET"
start_agent

say "registering while all is well"
for i in 1 2 3; do register "calm-$i" "all well"; done
limpet wait demo calm-3 --timeout 30s >/dev/null

if [ -n "$own_ensemble" ]; then
  leader="$(ensemble_leader)"
  say "killing the leader, server $leader (kill -9), and registering on"
  ensemble_kill "$leader"
  for i in 1 2 3; do register "election-$i" "no leader"; done

  say "killing a second server: no quorum is left; registering on"
  for server in 0 1 2; do
    [ -n "${server_pids[$server]}" ] && { ensemble_kill "$server"; break; }
  done
  sleep 1
  for i in 1 2 3; do register "outage-$i" "no quorum"; done

  say "killing the agent (kill -9) and starting it again, still without a quorum"
  kill -KILL "$agent_pid"
  while kill -0 "$agent_pid" 2>/dev/null; do sleep 0.05; done
  start_agent
  register "restarted-1" "no quorum, agent restarted"

  sleep 2  # it looks what is the matter with the servers
  say "what the agent says meanwhile: limpet status, limpet queue"
  limpet status
  limpet queue

  say "bringing the quorum back"
  for server in 0 1 2; do ensemble_start "$server"; done
  ensemble_wait_serving || { echo "the ZooKeeper servers do not come back" >&2; exit 1; }
fi
for name in "${names[@]}"; do
  limpet wait demo "$name" --timeout 60s >/dev/null
done

# ---- What an independent client sees

say "what ZooKeeper holds, as seen by zkCli.sh"
stats="$(for name in "${names[@]}"; do echo "stat $root/demo/$name"; done |
  JVMFLAGS="-Xmx64m" /usr/share/zookeeper/bin/zkCli.sh -server "$zookeeper" 2>/dev/null || true)"
mapfile -t zxids < <(printf '%s\n' "$stats" | sed -n 's/^cZxid = //p')
mapfile -t ctimes < <(printf '%s\n' "$stats" | sed -n 's/^ctime = //p')
row='  %-3s %-18s %-9s %-28s %-10s %s\n'
# shellcheck disable=SC2059
printf "$row" "#" "registration" "accepted" "while" "created" "czxid"
previous=0
in_order=yes
for i in "${!names[@]}"; do
  name="${names[$i]}"
  czxid="${zxids[$i]:-missing}"
  created="$(date -d "${ctimes[$i]:-}" +%T 2>/dev/null || echo "?")"
  # shellcheck disable=SC2059
  printf "$row" "$((i + 1))" "demo/$name" "${accepted_at[$name]}" "${accepted_while[$name]}" "$created" "$czxid"
  if [ "$czxid" = missing ] || [ $((czxid)) -lt "$previous" ]; then in_order=no; else previous=$((czxid)); fi
done
if [ "$in_order" = yes ]; then
  echo "  All ${#names[@]} are there, created in the order in which they were accepted."
else
  echo "  Something is missing or out of order: that must not happen. The agent's log: $(tail -n 3 "$work/limpetd.log")" >&2
  exit 1
fi

if [ -n "$once" ]; then
  say "done; everything started here is ended again"
  exit 0
fi
cat <<END

== the agent goes on running; in another terminal:
  export LIMPET_SOCKET=$LIMPET_SOCKET
  $build/agent/limpet status
  $build/agent/limpet register web i-1 --address 10.0.0.7 --port 8080 --wait 10s
  $build/agent/limpet list
  curl --unix-socket \$LIMPET_SOCKET http://localhost/v1/status
  curl --unix-socket \$LIMPET_SOCKET -X PUT http://localhost/v1/registrations/web/i-2 -d '{"data":"hello"}'
Ctrl-C ends it all.
END
while kill -0 "$agent_pid" 2>/dev/null; do sleep 1; done
