#!/usr/bin/env bash
# Installs what is needed, builds everything, runs every test. On Debian 12 or 13, as root or with sudo, from any folder.
#   bash tests/run.sh [--sanitize address|undefined|thread] [ctest options…]
#   bash tests/run.sh --fast
# LIMPET_BUILD_DIR names another build directory, LIMPET_JOBS another number of compilers at a time, LIMPET_TEST_JOBS
# another number of tests: most of them wait most of the time, for servers that start and sessions that run out.
# LIMPET_WERROR=ON makes warnings errors, as continuous integration has it.
set -euo pipefail
exec </dev/null
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$here"
. agent/packages.sh
. agent/configure.sh

# The unit tests and a short simulation; installs nothing.
if [ "${1:-}" = --fast ]; then
  programs=(lint_tests core_tests zk_unit_tests liveness_tests agent_tests api_tests)
  configure_build . "${LIMPET_BUILD_DIR:-build}" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DLIMPET_TESTS=ON -DLIMPET_BENCH=ON -DLIMPET_SANITIZE= -DLIMPET_FUZZ=OFF -DLIMPET_FAST_COMPILE=ON \
    -DLIMPET_WERROR="${LIMPET_WERROR:-OFF}"
  cmake --build "$build" -j "$(build_jobs)" --target "${programs[@]}" sim_tests
  for program in "${programs[@]}"; do
    "$build/tests/$program" --gtest_brief=1
  done
  LIMPET_SIM_HISTORIES=3000 exec "$build/tests/sim_tests" --gtest_brief=1 --gtest_filter='Simulation.*'
fi

sanitize=
if [ "${1:-}" = --sanitize ]; then
  sanitize="$2"
  shift 2
fi

# shellcheck disable=SC2086
install_packages $LIMPET_BUILD_PACKAGES $LIMPET_PACKAGE_PACKAGES $LIMPET_ZOOKEEPER_PACKAGES $LIMPET_TEST_PACKAGES
configure_build . "${LIMPET_BUILD_DIR:-build${sanitize:+-$sanitize}}" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DLIMPET_TESTS=ON -DLIMPET_BENCH=ON -DLIMPET_SANITIZE="$sanitize" -DLIMPET_FUZZ=OFF -DLIMPET_FAST_COMPILE=ON \
  -DLIMPET_WERROR="${LIMPET_WERROR:-OFF}"
cmake --build "$build" -j "$(build_jobs)"
cd "$build"
exec ctest --output-on-failure --no-tests=error -j "${LIMPET_TEST_JOBS:-4}" "$@"
