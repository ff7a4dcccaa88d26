#!/usr/bin/env bash
# The Debian package as a host has it: made, looked at, installed, started, upgraded, removed and purged, in a tree of
# its own (tree.sh), once without a service manager and once with systemd as PID 1, against real ZooKeeper servers.
#   package.sh BUILD_DIR
# Ends with 77 where something that it needs is not to be had; it says what.
set -euo pipefail
exec </dev/null
export LC_ALL=C.UTF-8
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
top="$here/../.."
build="$(cd "$1" && pwd)"
. "$here/tree.sh"
. "$top/agent/loopback_ensemble.sh"
server_pids=("" "" "")
work="$(mktemp -d /tmp/limpet-package-XXXXXX)"

finish() {
  local server
  tree_stop
  for server in 0 1 2; do
    [ -z "${server_pids[$server]}" ] || ensemble_kill "$server"
  done
  rm -rf "$work"
}
trap finish EXIT
trap 'echo "FAILED at ${BASH_SOURCE[0]}:$LINENO"' ERR

step() { echo "$(date +%T) -- $*"; }
skip() { echo "skipped from here: $*"; exit 77; }
fail() {
  echo "FAILED: $*"
  [ ! -s "$work/console" ] || tail -n 30 "$work/console"
  [ -z "$tree_init" ] || in_tree journalctl --no-pager -n 30 -u limpet.service -u limpet.socket 2>/dev/null || true
  exit 1
}
# COMMAND's standard output is TEXT.
says() {
  local text="$1" said
  shift
  said="$("$@")" || fail "$* ended with $?: $said"
  [ "$said" = "$text" ] || fail "$*: \"$said\" instead of \"$text\""
}
# Until COMMAND succeeds.
await() {
  local _
  for _ in $(seq 300); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  fail "in vain: $*"
}

# ---- Made

command -v dpkg-shlibdeps >/dev/null || skip "cpack needs dpkg-dev"
step "packed; and a second version of it"
mkdir "$work/packages"
(cd "$build" && cpack -G DEB -B "$work/cpack" -D CPACK_DEBIAN_COMPRESSION_TYPE=gzip) >"$work/log" 2>&1 ||
  fail "cpack: $(cat "$work/log")"
cp "$work/cpack"/*.deb "$work/packages/1.deb"
dpkg-deb --raw-extract "$work/packages/1.deb" "$work/second"
sed -i 's/^Version: .*/&.1/' "$work/second/DEBIAN/control"
dpkg-deb -Zgzip --root-owner-group --build "$work/second" "$work/packages/2.deb" >"$work/log" || fail "dpkg-deb: $(cat "$work/log")"

step "what is in it"
says "limpet" dpkg-deb --field "$work/packages/1.deb" Package
says "/etc/limpet/limpet.json" dpkg-deb --info "$work/packages/1.deb" conffiles
depends="$(dpkg-deb --field "$work/packages/1.deb" Depends)"
for library in libc6 librocksdb libzookeeper-mt2 adduser; do
  [[ "$depends" == *"$library"* ]] || fail "it does not depend on $library: $depends"
done
units=./usr/lib/systemd/system
! grep -qx 'VERSION_CODENAME=bookworm' /etc/os-release || units=./lib/systemd/system
dpkg-deb --contents "$work/packages/1.deb" | awk -v units="$units/" '$6 !~ "/$" {
  if (index($6, units) == 1) $6 = "UNITS/" substr($6, length(units) + 1)
  print $1, $2, $6 }' | LC_ALL=C sort -k3 >"$work/contents"
diff -u "$here/contents" "$work/contents" || fail "tests/package/contents says what should be in it"
build_type="$(sed -n 's/^CMAKE_BUILD_TYPE:[A-Z]*=//p' "$build/CMakeCache.txt")"
for program in usr/bin/limpet usr/sbin/limpetd; do
  readelf --sections --wide "$work/second/$program" >"$work/log"
  grep -q ' \.symtab ' "$work/log" && fail "$program is not stripped"
  # As Debian's hardening has it; a build for developers is left as it is.
  case "$build_type" in Release | RelWithDebInfo) ;; *) continue ;; esac
  readelf --wide --file-header --program-headers --dynamic --dyn-syms "$work/second/$program" >"$work/log"
  grep -q 'Type: *DYN' "$work/log" || fail "$program is not position-independent"
  grep -q ' GNU_RELRO ' "$work/log" || fail "$program has no RELRO"
  grep -Eq '\(FLAGS(_1)?\).*(BIND_NOW|NOW)' "$work/log" || fail "$program binds lazily: its RELRO is partial"
  grep -q '__stack_chk_fail' "$work/log" || fail "$program has no stack protector"
  grep -Eq '__(memcpy|memmove|read|snprintf|vsnprintf|realpath|fdelt|poll)_chk' "$work/log" || fail "$program is not fortified"
  grep -Eq ' GNU_STACK .* RW ' "$work/log" || fail "$program has an executable stack"
done
for script in postinst prerm postrm; do
  dpkg-deb --info "$work/packages/1.deb" "$script" | sh -n || fail "$script is no shell script"
done
if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error "$work/packages/1.deb" || fail "lintian finds errors"
fi

# ---- Without a service manager, as in a container

reason="$(why_no_tree)"
[ -z "$reason" ] || skip "no tree to install it into: $reason"
step "installed where no service manager runs"
tree_start "$work" bare || fail "the tree could not be made: $(cat "$work/console")"
in_tree dpkg --install /packages/1.deb >"$work/log" 2>&1 || fail "dpkg: $(cat "$work/log")"
says "limpet limpet 700" in_tree stat -c '%U %G %a' /var/lib/limpet
says "limpet limpet 755" in_tree stat -c '%U %G %a' /run/limpet
says "root root 644" in_tree stat -c '%U %G %a' /etc/limpet/limpet.json
in_tree runuser -u limpet -- limpetd --check-config >/dev/null || fail "the shipped configuration is refused"
in_tree systemd-analyze verify --man=no limpet.service limpet.socket || fail "systemd finds fault with the units"
in_tree systemd-analyze security --no-pager --offline=true --threshold=15 limpet.service >"$work/log" 2>&1 ||
  fail "the service is more exposed than 1.5: $(tail -n 1 "$work/log")"
in_tree sh -c 'setpriv --reuid limpet --regid limpet --clear-groups limpetd 2>/tmp/log >/dev/null & echo $! >/tmp/pid'
await in_tree limpet status
says "limpet limpet 660" in_tree stat -c '%U %G %a' /run/limpet/limpet.sock
in_tree limpet register web i-1 --data 1 >/dev/null || fail "cannot register"
in_tree sh -c 'kill $(cat /tmp/pid)'
await in_tree sh -c '! kill -0 $(cat /tmp/pid)'
in_tree dpkg --install /packages/2.deb >"$work/log" 2>&1 || fail "dpkg: $(cat "$work/log")"
in_tree sh -c 'umask 077; echo limpet:secret >/etc/limpet/zookeeper'
in_tree dpkg --purge limpet >"$work/log" 2>&1 || fail "dpkg: $(cat "$work/log")"
grep -q '^limpet: /etc/limpet is kept' "$work/log" || fail "a purge does not say that credentials stay: $(cat "$work/log")"
says "limpet:secret" in_tree cat /etc/limpet/zookeeper
in_tree rm -r /etc/limpet
for path in /var/lib/limpet /run/limpet /etc/limpet /usr/sbin/limpetd; do
  in_tree test ! -e "$path" || fail "a purge leaves $path"
done
tree_stop
rm -rf "$work/layer" "$work/root"

# ---- With systemd

. "$here/with_systemd.sh"
step "done"
