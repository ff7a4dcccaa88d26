#!/usr/bin/env bash
# Both commands of the README on a machine that has nothing yet: makes a bare tree of a Debian release by debootstrap,
# clones this repository's HEAD into it, runs the commands there in both orders, and says what failed. As root; an hour
# or more for each release.
#   bash tests/fresh.sh [12|13]      13 if left out
# LIMPET_MIRROR names another Debian mirror, LIMPET_FRESH_DIR a directory for the tree, with 8 GB to spare; the tree is
# removed at the end, unless LIMPET_FRESH_KEEP is set. Exit status: 0 all well, 1 something failed, 2 wrong usage.
#
# The commands see no locale, a umask of 077, a path with spaces and a closed standard input; the last run is that of a
# user with sudo.
set -euo pipefail
exec </dev/null
top="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
case "${1:-13}" in
  12) release=bookworm ;;
  13) release=trixie ;;
  *) echo "usage: bash tests/fresh.sh [12|13]" >&2; exit 2 ;;
esac
[ "$(id -u)" -eq 0 ] || { echo "it takes root: debootstrap, and mounts in a namespace of its own" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "there is no debootstrap; install the package of that name" >&2; exit 2; }
mirror="${LIMPET_MIRROR:-http://deb.debian.org/debian}"
work="$(mktemp -d "${LIMPET_FRESH_DIR:-/var/tmp}/limpet-fresh-XXXXXX")"
tree="$work/tree"
finish() { [ -n "${LIMPET_FRESH_KEEP:-}" ] || rm -rf "$work"; }
trap finish EXIT

say() { printf '== %s %s\n' "$(date +%T)" "$*"; }
# COMMAND… in the tree, in namespaces that end with it.
in_tree() {
  unshare --mount --pid --fork --kill-child --propagation private bash -c '
    set -e
    tree="$1"
    shift
    mount -t proc proc "$tree/proc"
    mount --rbind /dev "$tree/dev"
    mount -t sysfs sysfs "$tree/sys"
    mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$tree" "$@"
  ' bash "$tree" "$@" <&-
}

say "a bare tree of $release in $tree"
debootstrap --variant=minbase --include=ca-certificates,git "$release" "$tree" "$mirror" >"$work/debootstrap.log" ||
  { tail -n 20 "$work/debootstrap.log" >&2; exit 1; }
cp /etc/resolv.conf "$tree/etc/resolv.conf"
git -C "$top" bundle create -q "$tree/limpet.bundle" HEAD

failed=0
# attempt NAME USER DIRECTORY COMMAND…: one command in a clone, in DIRECTORY below that user's home.
attempt() {
  local name="$1" user="$2" directory="$3" status=0 log began
  shift 3
  log="$work/$(printf '%s' "$name" | tr -c 'a-z0-9' '-').log"
  began="$(date +%s)"
  in_tree runuser -u "$user" -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    bash -c 'umask 077; cd ~ && { [ -d "$1" ] || git clone -q /limpet.bundle "$1"; } && cd "$1" && shift && exec "$@"' \
    bash "$directory" "$@" >"$log" 2>&1 || status=$?
  if [ "$status" -eq 0 ]; then
    say "$name: works, $(($(date +%s) - began)) s"
  else
    failed=1
    say "$name: FAILED with $status after $(($(date +%s) - began)) s"
    grep -E 'FAILED|\*\*\*|error' "$log" | tail -n 20 || true
    tail -n 20 "$log"
  fi
}

attempt "the quickstart, first of all" root "first clone" bash agent/quickstart.sh --once
attempt "the tests behind it" root "first clone" bash tests/run.sh
attempt "the quickstart behind the tests" root "first clone" bash agent/quickstart.sh --once
attempt "the tests first, in another clone" root "second clone" bash tests/run.sh
attempt "the quickstart behind them" root "second clone" bash agent/quickstart.sh --once
in_tree sh -c 'apt-get install -y -qq sudo >/dev/null && useradd --create-home --shell /bin/bash user &&
  echo "user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/user'
attempt "the quickstart of a user with sudo" user "a clone" bash agent/quickstart.sh --once
[ "$failed" -eq 0 ] && say "all of it works on $release"
exit "$failed"
