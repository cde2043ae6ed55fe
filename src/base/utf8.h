// Text that others must be able to read as UTF-8: protobuf's clients refuse a whole message for one byte of another kind.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace switchyard {

bool IsUtf8(std::string_view text);

// Bytes of the UTF-8 character at the start of `text`, which is not empty; 0 when it is none.
size_t Utf8SequenceLength(std::string_view text);

// The start of `text`, of at most `most` bytes, that ends with a whole character.
std::string_view CutUtf8(std::string_view text, size_t most);

// `text` with U+FFFD for each byte that is not UTF-8.
std::string MakeUtf8(std::string_view text);

}  // namespace switchyard
