#include "testing/npusim/settings.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "testing/npusim/level_zero.h"

namespace npusim {

std::string Setting(const char* name, const char* fallback) {
  const char* value = getenv(name);
  return value && *value ? value : fallback;
}

uint32_t NumberSetting(const char* name, const char* fallback) {
  return static_cast<uint32_t>(strtoul(Setting(name, fallback).c_str(), nullptr, 0));
}

uint32_t VersionSetting(const char* name, uint32_t major, uint32_t minor) {
  unsigned found_major, found_minor;
  if (sscanf(Setting(name, "").c_str(), "%u.%u", &found_major, &found_minor) != 2) return MakeVersion(major, minor);
  return MakeVersion(found_major, found_minor);
}

switchyard::testing::FaultFile& Faults() {
  // Never freed: a device thread may still ask while the host's static objects go.
  static auto* faults = new switchyard::testing::FaultFile(Setting("NPUSIM_FAIL", ""), Setting("NPUSIM_FAIL_FILE", ""));
  return *faults;
}

void Trace(const char* format, ...) {
  static const bool on = !Setting("NPUSIM_TRACE", "").empty();
  if (!on) return;
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  fprintf(stderr, "npusim: %s\n", line);
}

}  // namespace npusim
