#!/usr/bin/env bash
# Installs what is needed, builds, starts the peers, measures, and writes bench/results. On Debian 12 or 13, as root or sudo.
#   bash bench/run.sh [--quick] [--long] [--only SECTION,…] [--directory DIR]
# LIMPET_BUILD_DIR names another build directory, LIMPET_JOBS another number of compilers at a time.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$here"
. agent/packages.sh
. agent/configure.sh

# shellcheck disable=SC2086
install_packages $LIMPET_BUILD_PACKAGES $LIMPET_ZOOKEEPER_PACKAGES $LIMPET_TEST_PACKAGES $LIMPET_BENCH_PACKAGES
configure_build . "${LIMPET_BUILD_DIR:-build}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLIMPET_BENCH=ON -DLIMPET_SANITIZE= \
  -DLIMPET_FUZZ=OFF -DLIMPET_FAST_COMPILE=ON -DLIMPET_WERROR="${LIMPET_WERROR:-OFF}"
cmake --build "$build" -j "$(build_jobs)" --target limpetd bench_load bench_floor bench_zk bench_micro | tail -1
exec /usr/bin/python3 bench/run.py --build "$build" "$@"
