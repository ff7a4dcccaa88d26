// What the fuzz targets share. Each is one LLVMFuzzerTestOneInput in a file of its own: linked with corpus_main.cc it
// is a plain test over the inputs in corpus/<target>; with clang's libFuzzer (tests/fuzz/run.sh) it looks for new ones.
// A target aborts where a property does not hold; everything else that is wrong is the sanitizer's to see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace limpet::fuzz {

inline void require(bool holds, const char* property) {
  if (!holds) {
    std::fprintf(stderr, "does not hold: %s\n", property);
    std::abort();
  }
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace limpet::fuzz
