# shellcheck shell=bash
# How our commands configure a build directory; sourced by agent/quickstart.sh, tests/run.sh, bench/run.sh and
# tests/fuzz/run.sh.

# configure_build SOURCE BUILD OPTION…: configures BUILD, whatever was configured there before. Options that our
# commands set differently have to be given each time: one that is left out keeps the value that another command cached.
# Writes to standard error only. Sets `build` to the directory's absolute path.
configure_build() {
  local source how=(-G Ninja) cached
  source="$(cd "$1" && pwd -P)"
  mkdir -p "$2" || return 1
  build="$(cd "$2" && pwd -P)"
  shift 2
  if [ ! -w "$build" ]; then
    echo "$build belongs to another user; remove it, or name another directory by LIMPET_BUILD_DIR" >&2
    return 1
  fi
  if [ -e "$build/CMakeCache.txt" ]; then
    how=()  # with the generator that it has
    cached="$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p; s/^CMAKE_CACHEFILE_DIR:INTERNAL=//p' "$build/CMakeCache.txt" |
      while IFS= read -r path; do readlink -f -- "$path" || echo gone; done | sort -u)"
    if [ "$cached" != "$(printf '%s\n' "$source" "$build" | sort -u)" ]; then
      how=(--fresh -G Ninja)  # made in another place: the tree was moved or copied since
    fi
  fi
  cmake "${how[@]}" -S "$source" -B "$build" "$@" >"$build/configure.log" ||
    { cat "$build/configure.log" >&2; return 1; }
}

# How many compilers may run at a time: LIMPET_JOBS, or as many as the processors and the free memory are good for.
build_jobs() {
  local processors gigabytes
  processors="$(nproc)"
  gigabytes="$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)"
  if [ -n "${LIMPET_JOBS:-}" ]; then
    echo "$LIMPET_JOBS"
  elif [ "$gigabytes" -gt "$processors" ]; then
    echo "$((processors + 1))"
  else
    echo "$((gigabytes > 0 ? gigabytes : 1))"
  fi
}
