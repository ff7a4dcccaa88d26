#!/usr/bin/env bash
# The commands of the README one after the other in one clone, as far as configuring it: what one of them leaves in the
# build directory must not decide what another one does. In a copy of the source tree whose name has spaces, without a
# locale, with a private umask and standard input closed. Nothing is compiled.
#   configure.sh
set -euo pipefail
top="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
work="$(mktemp -d /tmp/limpet-configure-XXXXXX)"
trap 'rm -rf "$work"' EXIT
umask 077

fail() {
  echo "FAILED: $*"
  exit 1
}

# Programs that stop at what would take long: `cmake --build` ends with 75, or with 0 where `go-on` lies beside it, and
# `ctest` names the tests only.
mkdir "$work/bin"
cat >"$work/bin/cmake" <<'CMAKE'
#!/bin/sh
[ "$1" = --build ] || exec /usr/bin/cmake "$@"
[ -e "$0.go-on" ] || exit 75
CMAKE
cat >"$work/bin/ctest" <<'CTEST'
#!/bin/sh
exec /usr/bin/ctest -N
CTEST
chmod +x "$work/bin/cmake" "$work/bin/ctest"

clone="$work/a clone"
copy() {
  rm -rf "$clone"
  mkdir "$clone"
  tar -C "$top" --exclude=./.git --exclude='./build*' --exclude=./.cache -cf - . | tar -C "$clone" -xf -
}
as_a_service() {
  env -i PATH="$work/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME="$work" "$@" <&-
}
quickstart() {
  local status=0
  rm -f "$work/bin/cmake.go-on"
  as_a_service bash "$clone/agent/quickstart.sh" --once >"$work/log" 2>&1 || status=$?
  [ "$status" -eq 75 ] || fail "$1: quickstart.sh does not come as far as the build: $(cat "$work/log")"
}
tests() {
  touch "$work/bin/cmake.go-on"
  as_a_service bash "$clone/tests/run.sh" >"$work/log" 2>&1 || fail "$1: run.sh: $(cat "$work/log")"
  if ! grep -q ' sim_tests' "$work/log" || ! grep -q ': package$' "$work/log"; then
    fail "$1: no tests: $(cat "$work/log")"
  fi
}

copy
quickstart "first of all"
tests "behind the quickstart"
quickstart "behind the tests"
tests "once more"
mv "$clone" "$work/another place"
clone="$work/another place"
tests "in a clone that was moved"
quickstart "in a clone that was moved"

clone="$work/a clone"
copy
as_a_service cmake -S "$clone" -B "$clone/build" -DCMAKE_BUILD_TYPE=Release -DLIMPET_TESTS=OFF >"$work/log" 2>&1 ||
  fail "configured by hand: $(cat "$work/log")"
tests "behind a build by hand"
quickstart "behind a build by hand"
mkdir "$work/parent"
cat >"$work/parent/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.25)
project(parent LANGUAGES CXX)
add_subdirectory("$clone" limpet)
CMAKE
as_a_service cmake -S "$work/parent" -B "$work/parent/build" >"$work/log" 2>&1 || fail "a part of another project: $(cat "$work/log")"
grep -q '^CMAKE_BUILD_TYPE:STRING=$' "$work/parent/build/CMakeCache.txt" || fail "it decides the other project's build type"
[ ! -e "$work/parent/build/limpet/tests" ] || fail "it adds tests to another project"
[ ! -e "$work/parent/build/CPackConfig.cmake" ] || fail "it packs another project"
echo "both commands, in either order: configured"
