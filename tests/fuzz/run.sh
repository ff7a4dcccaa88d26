#!/usr/bin/env bash
# Fuzzes each target for so many seconds, with clang's libFuzzer and the address and undefined-behaviour sanitizers:
#   bash tests/fuzz/run.sh SECONDS [http|api|json|records|log…]
# New inputs gather in build-fuzz/corpus, findings in build-fuzz/findings; a finding, once mended, goes into
# tests/fuzz/corpus under a name that tells what it was. LIMPET_BUILD_DIR names another build directory.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$here"
. agent/packages.sh
. agent/configure.sh
seconds="${1:?how many seconds for each target?}"
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(http api json records log)

# shellcheck disable=SC2086
install_packages $LIMPET_BUILD_PACKAGES $LIMPET_TEST_PACKAGES $LIMPET_FUZZ_PACKAGES
configure_build . "${LIMPET_BUILD_DIR:-build-fuzz}" -DLIMPET_TESTS=ON -DLIMPET_FUZZ=ON \
  -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DCMAKE_CXX_FLAGS="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
cmake --build "$build" -j "$(build_jobs)" --target "${targets[@]/#/fuzz_}"

findings=0
for target in "${targets[@]}"; do
  mkdir -p "$build/corpus/$target" "$build/findings"
  log="$build/$target.log"
  "$build/tests/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=4096 \
    -dict="$here/tests/fuzz/words.dict" -print_final_stats=1 -artifact_prefix="$build/findings/$target-" \
    "$build/corpus/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1 || findings=1
  executions="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
  echo "$target: ${executions:-?} executions, $(ls "$build/corpus/$target" | wc -l) new inputs;" \
    "findings: $(find "$build/findings" -name "$target-*" | wc -l) (log: $log)"
done
exit $findings
