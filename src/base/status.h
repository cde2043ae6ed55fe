// The one error vocabulary: absl::Status, whose codes are gRPC's. This header adds what the project does with it everywhere:
// formatted construction, early return, and the one table that gives HTTP's codes.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace switchyard {

using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

// Error(StatusCode::kNotFound, "Model {} is not there", name)
template <typename... Args>
Status Error(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Status InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return Status(StatusCode::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...));
}

// The message, as a view into `status`. (Debian's absl::string_view is a class of its own, which fmt and std::string_view do
// not know.)
inline std::string_view Message(const Status& status) { return {status.message().data(), status.message().size()}; }

// The same error, payloads included, with `context` and ": " before its message. OK stays OK.
Status Annotate(const Status& status, std::string_view context);

// HTTP's status code for an error of ours; 200 for OK. 405 and 413 are faults of HTTP itself and are made by its listener.
int HttpCode(StatusCode code);

}  // namespace switchyard

// Leaves the calling function with the error, if there is one.
#define SY_RETURN_IF_ERROR(expression)                                              \
  do {                                                                              \
    if (::absl::Status sy_status = (expression); !sy_status.ok()) return sy_status; \
  } while (false)

#define SY_CONCAT_INNER(a, b) a##b
#define SY_CONCAT(a, b) SY_CONCAT_INNER(a, b)
// SY_ASSIGN_OR_RETURN(auto value, MakeValue());
#define SY_ASSIGN_OR_RETURN(target, expression) SY_ASSIGN_OR_RETURN_INNER(SY_CONCAT(sy_or_, __LINE__), target, expression)
#define SY_ASSIGN_OR_RETURN_INNER(result, target, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return std::move(result).status();        \
  target = *std::move(result)
