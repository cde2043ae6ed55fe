// Logging for people: one line an event on stdout, and in a file when asked for. Nothing on the path of a request logs above
// kDebug. Thread-safe.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace switchyard {

enum class LogLevel { kTrace, kDebug, kInfo, kWarning, kError };

// OVMS's spelling: TRACE, DEBUG, INFO, WARNING, ERROR.
StatusOr<LogLevel> ParseLogLevel(std::string_view name);

// Replaces where and how much is logged. An empty `file` means stdout alone. Call before threads start.
Status ConfigureLog(LogLevel level, const std::string& file);
// For tools whose answer is on stdout: warnings and errors alone, on stderr. Call before threads start.
void LogToStderr();
bool LogEnabled(LogLevel level);
void FlushLog();
void LogLine(LogLevel level, std::string_view line);

template <typename... Args>
void Log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (LogEnabled(level)) LogLine(level, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void LogDebug(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kDebug, format, std::forward<Args>(args)...);
}
template <typename... Args>
void LogInfo(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kInfo, format, std::forward<Args>(args)...);
}
template <typename... Args>
void LogWarning(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kWarning, format, std::forward<Args>(args)...);
}
template <typename... Args>
void LogError(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kError, format, std::forward<Args>(args)...);
}

}  // namespace switchyard
