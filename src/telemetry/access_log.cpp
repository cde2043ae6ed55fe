#include "telemetry/access_log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>
#include <utility>

#include "base/json_string.h"
#include "base/log.h"
#include "base/thread_name.h"

namespace switchyard {
namespace {

constexpr std::string_view kStdout = "-";
constexpr auto kIdle = std::chrono::seconds(60);
// Between waking up and writing: lines come together, and threads that serve wake the writer no more often than this.
constexpr auto kGather = std::chrono::milliseconds(20);
constexpr size_t kMaxBatchBytes = size_t{64} << 10;

StatusOr<int> OpenFile(const std::string& path) {
  if (path == kStdout) return STDOUT_FILENO;
  const int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
  if (file >= 0) return file;
  return InvalidArgument("access_log: the file \"{}\" cannot be opened for writing: {}", path, std::strerror(errno));
}

bool IsPlain(char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

// The formatting below is most of what a line costs the machine: no formatter that reads its format each time.
void AppendText(std::string& out, std::string_view key, std::string_view value) {
  out += key;
  if (value.empty()) {
    out += "null";
  } else if (std::all_of(value.begin(), value.end(), IsPlain)) {
    out += '"';
    out += value;
    out += '"';
  } else {
    AppendJsonString(out, value);
  }
}

void AppendDigits(std::string& out, uint64_t value) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

// With leading zeros.
template <size_t Width>
void AppendPadded(std::string& out, uint64_t value) {
  char digits[Width];
  for (size_t i = Width; i-- > 0; value /= 10) digits[i] = static_cast<char>('0' + value % 10);
  out.append(digits, Width);
}

void AppendNumber(std::string& out, std::string_view key, uint64_t value) {
  out += key;
  AppendDigits(out, value);
}

void AppendTime(std::string& out, std::string_view key, int64_t ns) {
  out += key;
  if (ns == CallEvent::kNone) {
    out += "null";
    return;
  }
  AppendDigits(out, static_cast<uint64_t>(ns / 1000));
  out += '.';
  AppendPadded<3>(out, static_cast<uint64_t>(ns % 1000));
}

void AppendId(std::string& out, std::string_view key, const uint8_t* bytes, size_t count) {
  out += key;
  AppendHex(out, bytes, count);
  out += '"';
}

// In UTC. Many lines are of the same second.
void AppendSecond(std::string& out, std::time_t second) {
  thread_local std::pair<std::time_t, std::string> last;
  if (last.second.empty() || last.first != second) last = {second, fmt::format("{:%FT%T}", fmt::gmtime(second))};
  out += last.second;
}

std::string_view CodeText(StatusCode code) {
  static const auto* const names = [] {
    auto* const made = new std::array<std::string, kStatusCodes>;
    for (size_t i = 0; i < kStatusCodes; ++i) (*made)[i] = StatusCodeName(i);
    return made;
  }();
  const auto index = static_cast<size_t>(code);
  return (*names)[index < kStatusCodes ? index : static_cast<size_t>(StatusCode::kUnknown)];
}

}  // namespace

void AppendAccessLine(std::string& out, const CallEvent& event) {
  const int64_t begin_us = (event.end_ns - event.total_ns) / 1000;
  out += "{\"time\":\"";
  AppendSecond(out, begin_us / 1000000);
  out += '.';
  AppendPadded<6>(out, static_cast<uint64_t>(begin_us % 1000000));
  out += 'Z';
  const EndpointInfo& endpoint = Info(event.endpoint);
  AppendText(out, "\",\"request_id\":", event.texts.Get(EventTexts::kRequestId));
  AppendText(out, ",\"api\":", endpoint.api);
  AppendText(out, ",\"interface\":", endpoint.interface);
  AppendText(out, ",\"method\":", endpoint.method);
  AppendText(out, ",\"model\":", event.texts.Get(EventTexts::kModel));
  AppendText(out, ",\"version\":", event.texts.Get(EventTexts::kVersion));
  AppendText(out, ",\"device\":", event.texts.Get(EventTexts::kDevice));
  AppendText(out, ",\"status\":", CodeText(event.code));
  AppendNumber(out, ",\"batch\":", event.batch);
  AppendNumber(out, ",\"bytes_in\":", event.bytes_in);
  AppendNumber(out, ",\"bytes_out\":", event.bytes_out);
  AppendTime(out, ",\"decode_us\":", event.decode_ns);
  AppendTime(out, ",\"queue_us\":", event.queue_ns);
  AppendTime(out, ",\"compute_us\":", event.compute_ns);
  AppendTime(out, ",\"encode_us\":", event.encode_ns);
  AppendTime(out, ",\"total_us\":", event.total_ns);
  if (event.traced) {
    AppendId(out, ",\"trace_id\":\"", event.trace_id.data(), event.trace_id.size());
    AppendId(out, ",\"span_id\":\"", event.span_id.data(), event.span_id.size());
    if (event.parent_id != std::array<uint8_t, 8>{}) {
      AppendId(out, ",\"parent_span_id\":\"", event.parent_id.data(), event.parent_id.size());
    }
  }
  out += "}\n";
}

StatusOr<std::unique_ptr<AccessLog>> AccessLog::Open(const std::string& path) {
  SY_ASSIGN_OR_RETURN(const int file, OpenFile(path));
  return std::unique_ptr<AccessLog>(new AccessLog(path, file));
}

AccessLog::AccessLog(std::string path, int file) : path_(std::move(path)), file_(file), thread_([this] { Run(); }) {}

void AccessLog::Close(Duration longest) {
  stopping_.store(true);
  queue_.Wake();
  done_.WaitFor(longest);
}

AccessLog::~AccessLog() {
  stopping_.store(true);
  queue_.Wake();
  thread_.join();
  if (file_ != STDOUT_FILENO) close(file_);
}

void AccessLog::Add(const CallStory& story, std::chrono::system_clock::time_point end) {
  queue_.Push([&](CallEvent& event) { event.Set(story, end); });
}

void AccessLog::Reopen() {
  reopen_.store(true);
  queue_.Wake();
}

void AccessLog::Run() {
  NameThread("sy-access-log");
  std::string lines;
  while (true) {
    const bool last = stopping_.load();
    if (!last) queue_.Wait(kIdle);
    if (!last) std::this_thread::sleep_for(kGather);
    if (reopen_.exchange(false)) {
      const StatusOr<int> file = OpenFile(path_);
      if (!file.ok()) {
        LogWarning("{}; the old file goes on", Message(file.status()));
      } else if (*file != file_) {
        close(std::exchange(file_, *file));
        torn_ = complained_ = false;
      }
    }
    for (bool more = true; more;) {
      lines.clear();
      uint64_t count = 0;
      while ((more = queue_.Pop([&](const CallEvent& event) { AppendAccessLine(lines, event); }))) {
        ++count;
        if (lines.size() >= kMaxBatchBytes) break;
      }
      if (count > 0) Write(lines, count);
    }
    if (last) break;
  }
  done_.Notify();
}

void AccessLog::Write(const std::string& lines, uint64_t count) {
  std::string_view rest = lines;
  // Half a line may stand there since the disk was full: ours must not go on in it.
  if (torn_ && write(file_, "\n", 1) == 1) torn_ = false;
  while (!rest.empty() && !torn_) {
    const ssize_t written = write(file_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    rest.remove_prefix(static_cast<size_t>(written));
  }
  if (rest.empty()) {
    written_.fetch_add(count, std::memory_order_relaxed);
    complained_ = false;
    return;
  }
  const auto left = static_cast<uint64_t>(std::count(rest.begin(), rest.end(), '\n'));
  torn_ = torn_ || (rest.size() < lines.size() && lines[lines.size() - rest.size() - 1] != '\n');
  lost_.fetch_add(left, std::memory_order_relaxed);
  written_.fetch_add(count - left, std::memory_order_relaxed);
  if (!std::exchange(complained_, true)) {
    LogWarning("access_log: {} cannot be written ({}); lines are dropped and counted until it can", path_,
               std::strerror(errno));
  }
}

}  // namespace switchyard
