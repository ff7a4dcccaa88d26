// What is wrong with the fields of a body: gathered while it is read, told all at once. Plain values; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/api/json_document.h"
#include "agent/api/names.h"
#include "agent/api/problem.h"

namespace limpet::api {

inline constexpr std::size_t kMaxWordBytes = 64;  // of an unknown word that is repeated to the caller

// The RFC 6901 pointer of member `key` of the object at `parent`; a long key is shortened.
std::string child_pointer(std::string_view parent, std::string_view key);

class FieldErrors {
 public:
  // `detail` goes on where the field's pointer left off: "must be …", "is missing".
  void add(std::string pointer, std::string detail);
  void wrong_type(std::string pointer, std::string_view expected, JsonKind found);
  // A field that the object at `parent` does not have. `known`: the fields that could have been meant.
  template <typename Words>
  void unknown_field(std::string_view parent, std::string_view key, const Words& known) {
    if (!full()) {  // else it would be looked for among the known ones for nothing
      add_unknown(parent, key, nearest_word(key.substr(0, kMaxWordBytes), known));
    }
  }

  bool empty() const { return errors_.empty(); }
  // As many as are told at once: whoever reads on would find more for nobody.
  bool full() const { return errors_.size() == kMaxErrors; }
  // Precondition: not empty().
  Problem problem() &&;

 private:
  static constexpr std::size_t kMaxErrors = 16;

  void add_unknown(std::string_view parent, std::string_view key, std::string_view nearest);

  std::vector<FieldError> errors_;
};

}  // namespace limpet::api
