// Which registrations came from which file, kept in the state directory: a small file, replaced as a whole.
//
// Functions that block for the disk; any thread, one at a time.
#pragma once

#include <map>
#include <string>

#include "storage/error.h"
#include "storage/record.h"

namespace limpet {

// id -> name of the file. A file that is not there remembers nothing; one that is not what save wrote is
// Errc::damaged.
Result<std::map<RegistrationId, std::string>> load_registrations_memory(const std::string& path);

// On stable storage when it returns; on an error, what was remembered before still is.
Status save_registrations_memory(const std::string& path, const std::map<RegistrationId, std::string>& memory);

}  // namespace limpet
