#include "protocol/http/content_coding.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <zlib.h>

#include "protocol/http/http_error.h"

namespace switchyard {
namespace {

constexpr size_t kSmallestCompressed = 1024;
constexpr int kZlibWindow = 15;
constexpr int kGzipWindow = 15 + 16;
constexpr int kRawWindow = -15;

enum class Coding { kIdentity, kGzip, kDeflate };

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

enum class InflateResult { kDone, kCorrupt, kTooLarge };

// zlib's stream with its end assured.
struct Inflater {
  explicit Inflater(int window) { ready = inflateInit2(&stream, window) == Z_OK; }
  ~Inflater() {
    if (ready) inflateEnd(&stream);
  }
  z_stream stream{};
  bool ready = false;
};

InflateResult InflateBody(int window, std::string_view in, uint64_t json_length, uint64_t max_bytes, HttpBody& out) {
  Inflater inflater(window);
  if (!inflater.ready) return InflateResult::kCorrupt;
  z_stream& stream = inflater.stream;
  out.offset = BodyOffset(json_length);
  out.size = 0;
  size_t capacity = static_cast<size_t>(std::min<uint64_t>(std::max<uint64_t>(4 * in.size(), 4096), uint64_t{1} << 20));
  out.memory = Buffer::Allocate(out.offset + capacity + kBodyPadding);
  for (;;) {
    if (out.size == capacity) {
      if (out.size > max_bytes) return InflateResult::kTooLarge;
      capacity *= 2;
      Buffer larger = Buffer::Allocate(out.offset + capacity + kBodyPadding);
      std::memcpy(larger.data() + out.offset, out.memory.data() + out.offset, out.size);
      out.memory = std::move(larger);
    }
    if (stream.avail_in == 0 && !in.empty()) {
      const size_t part = std::min<size_t>(in.size(), UINT_MAX);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
      stream.avail_in = static_cast<uInt>(part);
      in.remove_prefix(part);
    }
    const size_t room = std::min<size_t>(capacity - out.size, UINT_MAX);
    stream.next_out = reinterpret_cast<Bytef*>(out.memory.data() + out.offset + out.size);
    stream.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream, Z_NO_FLUSH);
    out.size += room - stream.avail_out;
    if (out.size > max_bytes) return InflateResult::kTooLarge;
    if (result == Z_STREAM_END) {
      const bool more = stream.avail_in != 0 || !in.empty();
      if (!more) return InflateResult::kDone;
      // A gzip file may have several members, one after another.
      if (window != kGzipWindow || inflateReset(&stream) != Z_OK) return InflateResult::kCorrupt;
    } else if (result != Z_OK) {
      return InflateResult::kCorrupt;  // Z_BUF_ERROR too: room is never 0 here, so the data ended early
    } else if (stream.avail_in == 0 && in.empty() && stream.avail_out != 0) {
      return InflateResult::kCorrupt;
    }
  }
}

double Quality(std::string_view parameters) {
  for (size_t at = 0; at < parameters.size();) {
    size_t end = parameters.find(';', at);
    if (end == parameters.npos) end = parameters.size();
    const std::string_view one = Trim(parameters.substr(at, end - at));
    if (one.size() > 2 && one[0] == 'q' && one[1] == '=') {
      double q = 0;
      const auto parsed = std::from_chars(one.data() + 2, one.data() + one.size(), q);
      return parsed.ec == std::errc() && q >= 0 && q <= 1 ? q : 0;
    }
    at = end + 1;
  }
  return 1;
}

Coding ChooseCoding(std::string_view accept) {
  const std::string list = Lower(accept);
  double gzip = -1, deflate = -1, any = -1, identity = -1;
  for (size_t at = 0; at < list.size();) {
    size_t end = list.find(',', at);
    if (end == list.npos) end = list.size();
    const std::string_view item = std::string_view(list).substr(at, end - at);
    const size_t semicolon = std::min(item.find(';'), item.size());
    const std::string_view name = Trim(item.substr(0, semicolon));
    const double q = semicolon < item.size() ? Quality(item.substr(semicolon + 1)) : 1;
    if (name == "gzip" || name == "x-gzip") gzip = q;
    if (name == "deflate") deflate = q;
    if (name == "*") any = q;
    if (name == "identity") identity = q;
    at = end + 1;
  }
  if (gzip < 0) gzip = any;
  if (deflate < 0) deflate = any;
  if (gzip <= 0 && deflate <= 0) return Coding::kIdentity;
  if (identity > std::max(gzip, deflate)) return Coding::kIdentity;
  return gzip >= deflate ? Coding::kGzip : Coding::kDeflate;
}

// False when zlib refuses, which leaves `reply` as it is.
bool Deflate(int window, const Frame& body, std::string& out) {
  z_stream stream{};
  // The lowest level: answers are short-lived, and the time it takes is the client's too.
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
  char block[16384];
  int result = Z_OK;
  const auto& segments = body.segments();
  for (size_t i = 0; i < segments.size() && result == Z_OK; ++i) {
    std::string_view rest(segments[i].begin(), segments[i].size);
    while (result == Z_OK) {
      const size_t part = std::min<size_t>(rest.size(), UINT_MAX);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
      stream.avail_in = static_cast<uInt>(part);
      rest.remove_prefix(part);
      const bool last = rest.empty() && i + 1 == segments.size();
      do {
        stream.next_out = reinterpret_cast<Bytef*>(block);
        stream.avail_out = sizeof(block);
        result = deflate(&stream, last ? Z_FINISH : Z_NO_FLUSH);
        if (result == Z_BUF_ERROR) result = Z_OK;
        out.append(block, sizeof(block) - stream.avail_out);
      } while (result == Z_OK && stream.avail_out == 0);
      if (rest.empty()) break;
    }
  }
  deflateEnd(&stream);
  return result == Z_STREAM_END;
}

}  // namespace

std::optional<HttpReply> DecodeContent(std::string_view encoding, uint64_t json_length, uint64_t max_bytes, HttpBody& body) {
  const std::string name = Lower(Trim(encoding));
  if (name.empty() || name == "identity") return std::nullopt;
  const bool gzip = name == "gzip" || name == "x-gzip";
  if (!gzip && name != "deflate") {
    HttpReply reply =
        ErrorReply(415, fmt::format("Content-Encoding {} is not understood; send gzip, deflate or no encoding", encoding));
    reply.headers = "Accept-Encoding: gzip, deflate\r\n";
    return reply;
  }
  HttpBody inflated;
  auto result = InflateBody(gzip ? kGzipWindow : kZlibWindow, body.view(), json_length, max_bytes, inflated);
  if (!gzip && result == InflateResult::kCorrupt) {
    result = InflateBody(kRawWindow, body.view(), json_length, max_bytes, inflated);
  }
  switch (result) {
    case InflateResult::kDone: body = std::move(inflated); return std::nullopt;
    case InflateResult::kTooLarge:
      return ErrorReply(413,
                        fmt::format("Request body is larger than {} bytes when its {} encoding is undone", max_bytes, name));
    case InflateResult::kCorrupt: break;
  }
  return ErrorReply(400, fmt::format("Request body is not valid {} data, as its Content-Encoding says", name));
}

void EncodeContent(std::string_view accept_encoding, HttpReply& reply) {
  if (reply.body.size() <= kSmallestCompressed) return;
  // As it is, too: whoever keeps the answer must not give it to a client that would have been given another.
  reply.headers += "Vary: Accept-Encoding\r\n";
  if (accept_encoding.empty()) return;
  const Coding coding = ChooseCoding(accept_encoding);
  if (coding == Coding::kIdentity) return;
  std::string packed;
  packed.reserve(reply.body.size() / 2);
  if (!Deflate(coding == Coding::kGzip ? kGzipWindow : kZlibWindow, reply.body, packed)) return;
  reply.body = Frame(std::move(packed));
  reply.headers += coding == Coding::kGzip ? "Content-Encoding: gzip\r\n" : "Content-Encoding: deflate\r\n";
}

}  // namespace switchyard
