#include "protocol/kserve/request_parameters.h"

#include <charconv>
#include <chrono>
#include <limits>
#include <system_error>

namespace switchyard::kserve {

std::optional<uint64_t> ParseWholeNumber(std::string_view text) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
  return error == std::errc() ? number : std::numeric_limits<uint64_t>::max();
}

void SetTimeout(uint64_t microseconds, TimePoint now, DecodedRequest& request) {
  const auto longest =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(kNoDeadline - now).count());
  request.deadline =
      microseconds == 0 || microseconds >= longest ? kNoDeadline : now + std::chrono::microseconds(microseconds);
}

}  // namespace switchyard::kserve
