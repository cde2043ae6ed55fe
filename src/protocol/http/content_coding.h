// Content-Encoding: gzip and deflate, both ways.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/http/http_message.h"

namespace switchyard {

// Undoes `encoding` ("", "identity", "gzip", "x-gzip", "deflate"; deflate with zlib's wrapper, as the standard says, or
// without, as some clients send it). The result lies so that what follows its first `json_length` bytes is aligned. Memory is
// taken as it is needed. Returns what to answer when that cannot be done: 400 for corrupt data, 413 beyond `max_bytes`, 415 for
// another encoding.
std::optional<HttpReply> DecodeContent(std::string_view encoding, uint64_t json_length, uint64_t max_bytes, HttpBody& body);

// Compresses a body of more than 1 KiB when `accept_encoding` prefers that, and says so in the headers. Vary is in those of
// every body that large, compressed or not.
void EncodeContent(std::string_view accept_encoding, HttpReply& reply);

}  // namespace switchyard
