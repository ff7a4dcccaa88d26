# Debian 12 packages that building and testing limpet needs; sourced by agent/quickstart.sh and tests/run.sh.
# install_packages PACKAGE…: installs those that are missing, as root or by sudo.

LIMPET_BUILD_PACKAGES="g++ cmake ninja-build ccache libboost1.81-dev librocksdb-dev libzookeeper-mt-dev nlohmann-json3-dev
  libfmt-dev libcli11-dev"
LIMPET_PACKAGE_PACKAGES="dpkg-dev file"  # by cpack only
LIMPET_ZOOKEEPER_PACKAGES="zookeeper default-jre-headless procps curl"
LIMPET_TEST_PACKAGES="libgtest-dev strace libcurator-discovery-java libcurator-recipes-java
  libbsh-java python3-kazoo python3-jsonschema jq redis-server libbenchmark-dev"
LIMPET_BENCH_PACKAGES="valgrind"  # by bench/run.sh, with those of the tests
LIMPET_FUZZ_PACKAGES="clang-14 libclang-rt-14-dev"  # by tests/fuzz/run.sh only

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
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
