# shellcheck shell=bash disable=SC2034
# Debian packages, of releases 12 and 13, that building and testing limpet needs; sourced by agent/quickstart.sh,
# tests/run.sh and others.
# install_packages PACKAGE…: installs those that are missing, as root or by sudo.

# Debian 12's default Boost is older than what limpet needs; a newer release's is not.
LIMPET_BOOST_PACKAGE=libboost-dev
if grep -qx 'VERSION_CODENAME=bookworm' /etc/os-release 2>/dev/null; then
  LIMPET_BOOST_PACKAGE=libboost1.81-dev
fi
LIMPET_BUILD_PACKAGES="g++ cmake ninja-build ccache $LIMPET_BOOST_PACKAGE librocksdb-dev libzookeeper-mt-dev
  nlohmann-json3-dev libfmt-dev libcli11-dev"
LIMPET_PACKAGE_PACKAGES="dpkg-dev file"  # by cpack only
LIMPET_ZOOKEEPER_PACKAGES="zookeeper default-jre-headless procps curl"
LIMPET_TEST_PACKAGES="libgtest-dev strace libcurator-discovery-java libcurator-recipes-java
  libbsh-java python3-kazoo python3-jsonschema jq redis-server libbenchmark-dev"
LIMPET_CHECK_PACKAGES="clang-format shellcheck git"  # by tests/check.sh, which leaves out what is missing
LIMPET_BENCH_PACKAGES="valgrind"  # by bench/run.sh, with those of the tests
LIMPET_FUZZ_PACKAGES="clang libclang-rt-dev"  # by tests/fuzz/run.sh only

install_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are needed, and neither root nor sudo is here: ${missing[*]}" >&2; return 1; }
    as_root=(sudo)
  fi
  echo "installing: ${missing[*]}"
  # By a umask that lets every user read what packages make, and apt's own user what apt fetches.
  "${as_root[@]}" sh -c 'umask 022 && apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null' sh "${missing[@]}" </dev/null
}
