// Logging for people: one line an event on stdout, and in a file when asked for. Nothing on the path of a request logs above
// kDebug. Thread-safe. What is logged and how its lines look may be changed while the server runs.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace switchyard {

enum class LogLevel { kTrace, kDebug, kInfo, kWarning, kError };

// OVMS's spelling: TRACE, DEBUG, INFO, WARNING, ERROR.
StatusOr<LogLevel> ParseLogLevel(std::string_view name);

enum class LogFormat {
  kText,     // [2026-01-31 13:05:07.123][info] message, in local time
  kIso8601,  // 2026-01-31T13:05:07.123Z [info] message
  kJson,     // {"time":"2026-01-31T13:05:07.123Z","level":"INFO","message":"message"}
};
// "text" or "json".
StatusOr<LogFormat> ParseLogFormat(std::string_view name);

// Which events are logged, and how. Each severity stands for itself.
struct LogSettings {
  bool error = true;
  bool warning = true;
  bool info = true;
  uint32_t verbose = 0;  // 1: kDebug too, 2 and more: kTrace too
  LogFormat format = LogFormat::kText;
  friend bool operator==(const LogSettings&, const LogSettings&) = default;
};
LogSettings CurrentLogSettings();
void ChangeLogSettings(const LogSettings& settings);
// `level` and all above it.
void ChangeLogLevel(LogLevel level);

// Replaces where and how much is logged. An empty `file` means stdout alone. Call before threads start.
Status ConfigureLog(LogLevel level, const std::string& file, LogFormat format = LogFormat::kText);
// The file beside stdout; empty: none.
const std::string& LogFile();
// Opens the file by its name again, after it was moved away. On an error the old one goes on.
Status ReopenLogFile();
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
