#!/usr/bin/env bash
# Checks what the compiler does not: formatting, lengths, shell scripts, the include table, clang-tidy.
#   bash tests/check.sh [--tidy|--sources]
# --tidy runs clang-tidy on the files that differ from LIMPET_CHECK_BASE (origin/main if left out); it needs a configured build
# directory (LIMPET_BUILD_DIR, build if left out). --sources leaves out the include table, as ctest does, which has it as a
# test of its own. Exit status: 0 all well, 1 findings, 77 where this is no clone. Installs nothing; a tool that is missing
# or of another version than the tree is formatted with is named and left out.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
build="${LIMPET_BUILD_DIR:-build}"
status=0
fail() { printf '%s\n' "$*"; status=1; }
skip() { printf 'left out: %s\n' "$*"; }

git rev-parse HEAD >/dev/null 2>&1 || { skip "everything: this is no clone, or there is no git"; exit 77; }
mapfile -t sources < <(git ls-files '*.h' '*.cc')
mapfile -t scripts < <(git ls-files '*.sh' '.ci/run')

# The tree is formatted with clang-format 14, Debian 12's; later releases format some lines differently.
formatter="$(command -v clang-format-14 || command -v clang-format || true)"
if [ -n "$formatter" ] && "$formatter" --version | grep -q 'version 14\.'; then
  unformatted="$("$formatter" --dry-run "${sources[@]}" 2>&1 | sed -n 's/^\([^:]*:[0-9]*\):.*warning.*/\1/p' | sort -u)"
  [ -z "$unformatted" ] || fail "not formatted (clang-format -i FILE):" $'\n'"$unformatted"
else
  skip "formatting: no clang-format 14"
fi

if command -v shellcheck >/dev/null; then
  shellcheck -s bash -S warning -e SC1091,SC2034,SC2154 "${scripts[@]}" || fail "shellcheck has findings"
else
  skip "shell scripts: no shellcheck"
fi

# Headers over 300 lines, sources over 600, functions over 76.
mapfile -t shipped < <(git ls-files 'agent/*.h' 'agent/*.cc' 'storage/*.h' 'storage/*.cc')
for file in "${shipped[@]}"; do
  case "$file" in *.h) most=300 ;; *) most=600 ;; esac
  [ "$(wc -l <"$file")" -le "$most" ] || fail "$file: over $most lines"
done
long="$(awk 'FNR == 1 { start = 0 }
  /^[A-Za-z_].*[^;]$/ && !/^(namespace|class|struct|enum|union|extern|using|#)/ && !start { start = FNR }
  /^}$/ { if (start && FNR - start + 1 > 76) print FILENAME ":" start ": a function of " FNR - start + 1 " lines"; start = 0 }
  /;$/ && /^[^ ]/ { start = 0 } /^}/ { start = 0 }' "${shipped[@]}")"
[ -z "$long" ] || fail "$long"

# The include table (tests/unit/lint_test.cc), where it has been built.
if [ "${1:-}" = --sources ]; then
  :
elif [ -x "$build/tests/lint_tests" ]; then
  "$build/tests/lint_tests" --gtest_brief=1 || fail "lint_tests has findings"
else
  skip "the include table: $build/tests/lint_tests is not built"
fi

if [ "${1:-}" = --tidy ]; then
  base="${LIMPET_CHECK_BASE:-origin/main}"
  mapfile -t changed < <(git diff --name-only --diff-filter=d "$base" -- '*.cc')
  if [ ! -f "$build/compile_commands.json" ] || ! command -v clang-tidy >/dev/null; then
    skip "clang-tidy: needs the program and $build/compile_commands.json"
  elif [ ${#changed[@]} -gt 0 ]; then
    clang-tidy --quiet -p "$build" "${changed[@]}" || fail "clang-tidy has findings"
  fi
fi
exit $status
