// What the program itself must be like for the rest of this folder to work. Main thread, before there are others.
#pragma once

#include <cstdint>

namespace limpet::liveness {

// Raises the limit of open files to what is allowed, as each watched process takes one; lets ended children be waited
// for, even where whoever started the agent ignored them; and makes sure that the descriptors 0, 1 and 2 are taken, so
// that no file of ours gets to be somebody's standard output.
void prepare_program();

// How many files could be open before that: what the programs get that the agent starts, as many expect no more.
std::uint64_t descriptor_limit_of_children();

// The upper quarter of the descriptors is the agent's own, for its store, its servers and its checks: what others make
// it open, as many as they like, must have a lower number than this. The kernel gives the lowest that is free.
int first_own_descriptor();

}  // namespace limpet::liveness
