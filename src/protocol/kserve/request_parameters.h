// Parameters of a request that mean the same over gRPC and REST.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/timer.h"
#include "serving/infer_call.h"

namespace switchyard::kserve {

// A whole number of at least 0 that came as decimal text, as some clients send every parameter; one beyond 64 bits is the
// largest. None: it is something else.
std::optional<uint64_t> ParseWholeNumber(std::string_view text);

// `timeout`: the deadline, from `now` on. 0 is how clients say "none"; what lies beyond the clock's range never comes either.
void SetTimeout(uint64_t microseconds, TimePoint now, DecodedRequest& request);

}  // namespace switchyard::kserve
