// Small blocks of memory that a thread has freed, kept for what it allocates next. The allocator keeps seven of each
// size, and takes a lock for the rest: too few where a hundred callers come and go at once. (It has a tunable for the
// number, but reads it only from the environment that a process was started with.)
//
// Why not a library: mimalloc, jemalloc and tcmalloc are as quick here, and none quicker, but take 1 to 4 MiB more when
// idle, and mimalloc a fifth more for each further registration: the bounds on memory come first.
//
// Linking this replaces operator new and delete of the whole program, but for sanitizers, which have their own. What is
// kept is bounded by 128 KiB for each size up to 1 KiB and each thread. Any thread.
#pragma once

namespace limpet {

// Those of the calling thread go back to the allocator.
void give_back_spare_blocks();

}  // namespace limpet
