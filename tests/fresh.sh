#!/usr/bin/env bash
# Both commands of the README on a machine that has nothing yet: makes a bare tree of a Debian release by debootstrap,
# clones this repository's HEAD into it, runs the commands there in both orders, and says what failed. As root; an hour
# or more for each release.
#   bash tests/fresh.sh [12|13]      13 if left out
# LIMPET_DEBIAN_MIRROR names a Debian mirror instead of the one of this machine's apt, LIMPET_FRESH_DIR a directory for
# the tree, with 8 GB to spare. The tree is removed at the end, unless LIMPET_FRESH_KEEP is set; the logs stay where
# something failed. Exit status: 0 all well, 1 something failed, 2 wrong usage.
#
# The commands run in mount and pid namespaces of the tree's own, with a umask of 077, from a path with spaces, without a
# terminal and with a closed standard input; as root and as a user with sudo; without a locale, with C, with C.UTF-8, and
# with one that is not installed. The compiler's results are kept between the clones, as ccache does for one user anyhow.
set -euo pipefail
exec </dev/null
top="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
case "${1:-13}" in
  12) release=bookworm ;;
  13) release=trixie ;;
  *) echo "usage: bash tests/fresh.sh [12|13]" >&2; exit 2 ;;
esac
[ "$(id -u)" -eq 0 ] || { echo "it takes root: debootstrap, and mounts in a namespace of its own" >&2; exit 2; }
for program in debootstrap git unshare; do
  command -v "$program" >/dev/null || { echo "there is no $program; install the package of that name" >&2; exit 2; }
done
# Empty: debootstrap's own.
mirror="${LIMPET_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
  sed -n 's/^Debian //p' | head -n 1)}"
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
work="$(mktemp -d "${LIMPET_FRESH_DIR:-/var/tmp}/limpet-fresh-XXXXXX")"
chmod 755 "$work"
tree="$work/tree"
failed=0
finish() {
  [ -n "${LIMPET_FRESH_KEEP:-}" ] || rm -rf "$tree"
  [ "$failed" -eq 0 ] || { echo "the logs are in $work" >&2; exit 1; }
  [ -n "${LIMPET_FRESH_KEEP:-}" ] || rm -rf "$work"
}
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
    exec chroot "$tree" "$@"
  ' bash "$tree" env -i PATH="$path" "$@" <&-
}

make_tree() {
  say "a bare tree of $release in $tree"
  debootstrap --variant=minbase --include=ca-certificates,git "$release" "$tree" ${mirror:+"$mirror"} >"$work/debootstrap.log" || {
    failed=1
    tail -n 20 "$work/debootstrap.log" >&2
    exit 1
  }
  # What an installer writes, and debootstrap does not; and, as in a container, no package starts a service: they would
  # meet those of this machine.
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$tree/etc/hosts"
  printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
  chmod 755 "$tree/usr/sbin/policy-rc.d"
  install -d -m 1777 "$tree/var/cache/ccache"
  git -C "$top" bundle create -q "$tree/limpet.bundle" HEAD
}

# attempt NAME USER DIRECTORY COMMAND…: COMMAND in DIRECTORY below that user's home, a clone that is made if need be.
attempt() {
  local name="$1" user="$2" directory="$3" status=0 log began
  shift 3
  log="$work/$(printf '%s' "$name" | tr -c 'a-z0-9' '-').log"
  began="$(date +%s)"
  in_tree runuser -u "$user" -- env -i PATH="$path" CCACHE_DIR=/var/cache/ccache CCACHE_UMASK=000 CCACHE_NOHASHDIR=1 bash -c '
    umask 077
    cd ~
    export CCACHE_BASEDIR="$HOME"
    [ -d "$1" ] || git clone -q -c advice.detachedHead=false /limpet.bundle "$1" || exit
    cd "$1"
    shift
    exec "$@"
  ' bash "$directory" "$@" >"$log" 2>&1 || status=$?
  if [ "$status" -eq 0 ]; then
    say "$name: works, $(($(date +%s) - began)) s"
    return
  fi
  failed=1
  say "$name: FAILED with $status after $(($(date +%s) - began)) s"
  grep -E 'FAILED|\*\*\*|error' "$log" | tail -n 20 || true
  tail -n 20 "$log"
}

make_tree
attempt "the quickstart first of all" root "a clone" bash agent/quickstart.sh --once
attempt "the tests behind it" root "a clone" bash tests/run.sh
attempt "the quickstart once more" root "a clone" env LANG=C bash agent/quickstart.sh --once
in_tree rm -r "/root/a clone"
attempt "the tests first in a new clone" root "a clone" env LANG=C.UTF-8 bash tests/run.sh
attempt "the quickstart behind them" root "a clone" env LANG=C.UTF-8 bash agent/quickstart.sh --once
in_tree env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get install -y -qq sudo >/dev/null && useradd --create-home --shell /bin/bash user &&
  echo "user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/user'
attempt "the quickstart of a user with sudo" user "a clone" env LANG=de_DE.UTF-8 bash agent/quickstart.sh --once
attempt "the tests of a user with sudo" user "a clone" env LANG=de_DE.UTF-8 bash tests/run.sh
[ "$failed" -eq 0 ] && say "all of it works on $release"
exit "$failed"
