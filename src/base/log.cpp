#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <vector>

namespace switchyard {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::shared_ptr<spdlog::logger>& Logger() {
  static std::shared_ptr<spdlog::logger> logger = [] {
    auto made = spdlog::stdout_logger_mt("switchyard");
    made->set_pattern("[%Y-%m-%d %H:%M:%S.%e][%^%l%$] %v");
    return made;
  }();
  return logger;
}

}  // namespace

StatusOr<LogLevel> ParseLogLevel(std::string_view name) {
  if (name == "TRACE") return LogLevel::kTrace;
  if (name == "DEBUG") return LogLevel::kDebug;
  if (name == "INFO") return LogLevel::kInfo;
  if (name == "WARNING") return LogLevel::kWarning;
  if (name == "ERROR") return LogLevel::kError;
  return InvalidArgument("log_level: expected TRACE, DEBUG, INFO, WARNING or ERROR; got \"{}\"", name);
}

Status ConfigureLog(LogLevel level, const std::string& file) {
  auto& logger = Logger();
  if (!file.empty()) {
    try {
      logger->sinks().push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(file));
    } catch (const spdlog::spdlog_ex& error) {
      return InvalidArgument("log_path: the file \"{}\" cannot be opened for writing: {}", file, error.what());
    }
    logger->set_pattern("[%Y-%m-%d %H:%M:%S.%e][%^%l%$] %v");
  }
  logger->set_level(ToSpdlog(level));
  logger->flush_on(spdlog::level::info);
  return absl::OkStatus();
}

void LogToStderr() {
  auto& logger = Logger();
  logger->sinks() = {std::make_shared<spdlog::sinks::stderr_sink_mt>()};
  logger->set_pattern("[%^%l%$] %v");
  logger->set_level(spdlog::level::warn);
  logger->flush_on(spdlog::level::warn);
}

bool LogEnabled(LogLevel level) { return Logger()->should_log(ToSpdlog(level)); }
void FlushLog() { Logger()->flush(); }
void LogLine(LogLevel level, std::string_view line) {
  Logger()->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace switchyard
