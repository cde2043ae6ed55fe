// What the process asks of the operating system before it serves.
#pragma once

#include <cstdint>

namespace switchyard {

// Raises the soft limit of open descriptors to the hard one: every connection is a descriptor. Returns what it is now.
uint64_t RaiseDescriptorLimit();

// Turns off the search for lock cycles that the distribution's abseil was built with: it takes a lock of its own at every lock.
void TuneLocks();

}  // namespace switchyard
