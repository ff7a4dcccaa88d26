# shellcheck shell=bash disable=SC2154,SC2164
# A Debian tree of its own for the package's test, sourced by package.sh: the host's files with a layer of memory over
# them, in namespaces of its own, so that nothing that is installed there reaches the host. LIMPET_PACKAGE_TREE names
# another tree for its ground, such as one that mmdebstrap made.
#   tree_start DIRECTORY KIND   KIND systemd: with systemd as PID 1; bare: without any service manager
#   in_tree COMMAND…            runs it there, as root, for a minute at most
#   tree_stop

tree_init=   # PID 1 of the tree, as we see it
tree_holder= # its parent; all in the tree dies with it

in_tree() {
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root \
    timeout -k 5 60 nsenter --target "$tree_init" --all --root --wd -- "$@"
}

# In the namespaces: builds the tree and becomes its PID 1. The files in DIRECTORY/packages are at /packages there.
tree_become() {
  local directory="$1" kind="$2" ground="${LIMPET_PACKAGE_TREE:-/}" root="$1/root" device
  mkdir "$directory/layer"
  mount -t tmpfs tmpfs "$directory/layer"
  mkdir -p "$directory/layer/work" "$directory/layer/upper" "$root"
  mount -t overlay overlay -o "lowerdir=$ground,upperdir=$directory/layer/upper,workdir=$directory/layer/work" "$root"
  mkdir -p "$root/packages"
  cp "$directory"/packages/*.deb "$root/packages/"
  mount -t proc proc "$root/proc"
  mount -t tmpfs tmpfs "$root/run"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  ln -s /proc/self/fd "$root/dev/fd"
  mkdir "$root/dev/shm" "$root/dev/pts"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  chmod 1777 "$root/dev/shm" "$root/tmp"
  # As containers have it; what would set up the machine sees that it may not.
  mount -t sysfs -o ro sysfs "$root/sys"
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,ro,bind "$root/proc/sys"
  # Nothing of the host's own is started; it may have a word against starting anything; and no index of man pages.
  rm -rf "$root"/etc/systemd/system/*.wants "$root/usr/sbin/policy-rc.d" "$root/var/lib/man-db/auto-update" \
    "$root/var/log/journal" "$root/etc/limpet" "$root/var/lib/limpet"
  chroot "$root" userdel limpet 2>/dev/null || true
  chroot "$root" groupdel limpet 2>/dev/null || true
  cd "$root"
  if [ "$kind" = bare ]; then
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin setpriv --pdeathsig KILL chroot . sh -c 'while :; do sleep 1; done'
  fi
  mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  # Services get their credentials by mounts that spread within the tree, as on a machine.
  mount --make-rshared "$root"
  exec env -i container=limpet-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --pdeathsig KILL --bounding-set -sys_time,-sys_module,-net_admin,-sys_rawio,-syslog \
    chroot . /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=0
}

# Why there can be no such tree here; empty where there can.
why_no_tree() {
  local program
  [ "$(id -u)" -eq 0 ] || { echo "it takes root"; return; }
  for program in unshare nsenter setpriv chroot; do
    command -v "$program" >/dev/null || { echo "there is no $program"; return; }
  done
  unshare --mount --pid --cgroup --uts --ipc --fork sh -c 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/r &&
    mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r && mount -t proc proc /mnt/r/proc' \
    2>/dev/null || echo "mounts in namespaces of one's own are not allowed (a container without CAP_SYS_ADMIN?)"
}

tree_start() {
  local directory="$1" kind="$2"
  setpriv --pdeathsig KILL unshare --mount --pid --cgroup --uts --ipc --fork --kill-child --propagation private \
    bash -c 'set -e; . "$0"; tree_become "$1" "$2"' "${BASH_SOURCE[0]}" "$directory" "$kind" \
    >"$directory/console" 2>&1 </dev/null &
  tree_holder=$!
  local _
  for _ in $(seq 600); do
    tree_init="$(ps -o pid= --ppid "$tree_holder" | tr -d ' ')"
    if [ -n "$tree_init" ] && case "$(ps -o comm= -p "$tree_init")" in sh | systemd) true ;; *) false ;; esac; then
      [ "$kind" = bare ] && return 0
      [ "$(in_tree systemctl is-system-running 2>/dev/null)" = running ] && return 0
    fi
    kill -0 "$tree_holder" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

tree_stop() {
  [ -n "$tree_holder" ] || return 0
  kill -KILL "$tree_holder" 2>/dev/null || true
  wait "$tree_holder" 2>/dev/null || true
  tree_holder=
  tree_init=
}
