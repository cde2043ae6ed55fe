// The simulator's knobs, all of them environment variables that begin with NPUSIM_ (testing/README.md lists them).
#pragma once

#include <cstdint>
#include <string>

#include "testing/faults/fault_file.h"

namespace npusim {

// The variable's value; `fallback` when it is not set or empty.
std::string Setting(const char* name, const char* fallback);
uint32_t NumberSetting(const char* name, const char* fallback);
// "1.8" as MAJOR.MINOR; the fallback's where the variable holds something else.
uint32_t VersionSetting(const char* name, uint32_t major, uint32_t minor);

// NPUSIM_FAIL and the file that NPUSIM_FAIL_FILE names. Both variables are read at the first call.
switchyard::testing::FaultFile& Faults();

// One line to stderr if NPUSIM_TRACE is set.
void Trace(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace npusim
