#include "base/log.h"

#include <fmt/chrono.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "base/json_string.h"

namespace switchyard {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace: return spdlog::level::trace;
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view NameOf(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace: return "TRACE";
    case spdlog::level::debug: return "DEBUG";
    case spdlog::level::info: return "INFO";
    case spdlog::level::warn: return "WARNING";
    default: return "ERROR";
  }
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& to) override {
    const auto since_epoch = std::chrono::duration_cast<std::chrono::milliseconds>(message.time.time_since_epoch()).count();
    std::string line = fmt::format("{{\"time\":\"{:%FT%T}.{:03}Z\",\"level\":\"{}\",\"message\":",
                                   fmt::gmtime(std::time_t{since_epoch / 1000}), since_epoch % 1000, NameOf(message.level));
    AppendJsonString(line, {message.payload.data(), message.payload.size()});
    line += "}\n";
    to.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

std::unique_ptr<spdlog::formatter> MakeFormatter(LogFormat format) {
  switch (format) {
    case LogFormat::kJson: return std::make_unique<JsonFormatter>();
    case LogFormat::kIso8601:
      return std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ [%^%l%$] %v", spdlog::pattern_time_type::utc);
    case LogFormat::kText: break;
  }
  return std::make_unique<spdlog::pattern_formatter>("[%Y-%m-%d %H:%M:%S.%e][%^%l%$] %v");
}

// A bit for each LogLevel: what is logged is decided here, since spdlog knows thresholds only.
uint32_t MaskOf(const LogSettings& settings) {
  const auto bit = [](LogLevel level, bool on) { return on ? 1u << static_cast<int>(level) : 0u; };
  return bit(LogLevel::kError, settings.error) | bit(LogLevel::kWarning, settings.warning) |
         bit(LogLevel::kInfo, settings.info) | bit(LogLevel::kDebug, settings.verbose > 0) |
         bit(LogLevel::kTrace, settings.verbose > 1);
}

// One sink that hands on to the others, which may be exchanged while threads log: a logger's own list may not.
struct LogState {
  std::shared_ptr<spdlog::sinks::dist_sink_mt> outlets = std::make_shared<spdlog::sinks::dist_sink_mt>();
  spdlog::logger logger{"switchyard", outlets};
  std::atomic<uint32_t> mask{MaskOf(LogSettings{})};

  std::mutex changing;  // guards everything below
  LogSettings settings;
  std::string path;
  std::shared_ptr<spdlog::sinks::sink> file;

  LogState() {
    outlets->add_sink(std::make_shared<spdlog::sinks::stdout_sink_mt>());
    logger.set_level(spdlog::level::trace);
    logger.set_formatter(MakeFormatter(settings.format));
  }
};

LogState& State() {
  // Never destroyed: threads that are left behind may log until the process is gone.
  static LogState* const state = new LogState;
  return *state;
}

LogSettings AtLeast(LogLevel level, LogFormat format) {
  return {.error = true,
          .warning = level <= LogLevel::kWarning,
          .info = level <= LogLevel::kInfo,
          .verbose = level == LogLevel::kTrace   ? 2u
                     : level == LogLevel::kDebug ? 1u
                                                 : 0u,
          .format = format};
}

StatusOr<std::shared_ptr<spdlog::sinks::sink>> OpenFile(const std::string& path) {
  try {
    return std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
  } catch (const spdlog::spdlog_ex& error) {
    return InvalidArgument("log_path: the file \"{}\" cannot be opened for writing: {}", path, error.what());
  }
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

StatusOr<LogFormat> ParseLogFormat(std::string_view name) {
  if (name == "text") return LogFormat::kText;
  if (name == "json") return LogFormat::kJson;
  return InvalidArgument("log_format: expected text or json; got \"{}\"", name);
}

LogSettings CurrentLogSettings() {
  LogState& state = State();
  const std::lock_guard lock(state.changing);
  return state.settings;
}

void ChangeLogSettings(const LogSettings& settings) {
  LogState& state = State();
  const std::lock_guard lock(state.changing);
  if (settings.format != state.settings.format) state.logger.set_formatter(MakeFormatter(settings.format));
  state.settings = settings;
  state.mask.store(MaskOf(settings), std::memory_order_relaxed);
}

void ChangeLogLevel(LogLevel level) { ChangeLogSettings(AtLeast(level, CurrentLogSettings().format)); }

Status ConfigureLog(LogLevel level, const std::string& file, LogFormat format) {
  LogState& state = State();
  if (!file.empty()) {
    SY_ASSIGN_OR_RETURN(auto opened, OpenFile(file));
    opened->set_formatter(MakeFormatter(CurrentLogSettings().format));
    const std::lock_guard lock(state.changing);
    if (state.file != nullptr) state.outlets->remove_sink(state.file);
    state.outlets->add_sink(opened);
    state.file = opened;
    state.path = file;
  }
  ChangeLogSettings(AtLeast(level, format));
  state.logger.flush_on(spdlog::level::info);
  return absl::OkStatus();
}

const std::string& LogFile() { return State().path; }

Status ReopenLogFile() {
  LogState& state = State();
  const std::lock_guard lock(state.changing);
  if (state.file == nullptr) return absl::OkStatus();
  SY_ASSIGN_OR_RETURN(auto opened, OpenFile(state.path));
  opened->set_formatter(MakeFormatter(state.settings.format));
  state.outlets->add_sink(opened);
  state.outlets->remove_sink(state.file);
  state.file = opened;
  return absl::OkStatus();
}

void LogToStderr() {
  LogState& state = State();
  state.outlets->set_sinks({std::make_shared<spdlog::sinks::stderr_sink_mt>()});
  state.logger.set_pattern("[%^%l%$] %v");
  ChangeLogLevel(LogLevel::kWarning);
  state.logger.flush_on(spdlog::level::warn);
}

bool LogEnabled(LogLevel level) { return (State().mask.load(std::memory_order_relaxed) >> static_cast<int>(level) & 1) != 0; }
void FlushLog() { State().logger.flush(); }
void LogLine(LogLevel level, std::string_view line) {
  State().logger.log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace switchyard
