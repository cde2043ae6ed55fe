// Base64 of RFC 4648, as TensorFlow-Serving's {"b64": "..."} carries bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace switchyard {

// Nothing when `text` is not base64. Takes the URL-safe alphabet too; the padding may be left out, and blanks and ends of lines
// may stand anywhere.
std::optional<std::string> DecodeBase64(std::string_view text);
void AppendBase64(std::string& out, std::string_view bytes);

}  // namespace switchyard
