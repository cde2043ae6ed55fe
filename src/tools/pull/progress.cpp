#include "tools/pull/progress.h"

#include <unistd.h>

#include <cstdio>

#include "base/json_string.h"
#include "base/status.h"
#include "tools/text_table.h"

namespace switchyard {
namespace {

constexpr auto kLines = std::chrono::seconds(2);
constexpr auto kFrames = std::chrono::milliseconds(100);
constexpr uint64_t kBarCells = 30;

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

PullProgress::PullProgress(bool json) : json_(json), terminal_(!json && isatty(STDERR_FILENO) == 1) {}

void PullProgress::Say(const std::string& text) {
  if (json_) {
    std::string line = "{\"message\":";
    AppendJsonString(line, text);
    return Print(line + "}\n");
  }
  Print(fmt::format("{}switchyard pull: {}\n", drawn_ ? "\n" : "", text));
  drawn_ = false;
}

void PullProgress::At(const std::string& file, uint64_t done, uint64_t total) {
  const auto now = std::chrono::steady_clock::now();
  const bool ended = total != 0 && done == total;
  if (!ended && now - told_ < (terminal_ ? std::chrono::steady_clock::duration(kFrames) : kLines)) return;
  told_ = now;
  if (json_) {
    std::string line = "{\"file\":";
    AppendJsonString(line, file);
    return Print(line + fmt::format(",\"bytes\":{},\"of\":{}}}\n", done, total));
  }
  const std::string of = total == 0 ? "" : fmt::format(" of {}", BytesText(total));
  if (!terminal_) return Print(fmt::format("switchyard pull: {}: {}{}\n", file, BytesText(done), of));
  const uint64_t filled = total == 0 ? 0 : kBarCells * done / total;
  Print(fmt::format("\r\x1b[K{} [{}{}] {}{}{}", file, std::string(filled, '#'), std::string(kBarCells - filled, ' '),
                    BytesText(done), of, ended ? "\n" : ""));
  drawn_ = !ended;
}

}  // namespace switchyard
