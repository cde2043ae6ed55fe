#include "protocol/http/content_coding.h"

#include <random>
#include <string>

#include <gtest/gtest.h>
#include <zlib.h>

#include "protocol/http/http_error.h"
#include "protocol/http/test_body.h"

namespace switchyard {
namespace {

std::string Pack(const std::string& text, int window) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY);
  std::string out(compressBound(text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// The code of the refusal; 200 when `body` was decoded.
int Decode(const std::string& encoding, const std::string& packed, std::string& text, uint64_t most = 1 << 24,
           uint64_t json = 0) {
  HttpBody body = MakeBody(packed);
  const auto refused = DecodeContent(encoding, json, most, body);
  if (refused) return refused->code;
  EXPECT_GE(body.memory.size(), body.offset + body.size + kBodyPadding);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(body.data() + json) % kBufferAlignment, 0U);
  text = std::string(body.view());
  return 200;
}

TEST(DecodeContent, UndoesEveryForm) {
  std::string large;
  for (int i = 0; i < 200000; ++i) large += std::to_string(i);
  for (const std::string& text : {std::string(), std::string("hello"), large}) {
    std::string out;
    EXPECT_EQ(Decode("gzip", Pack(text, 31), out, 1 << 24, 5), 200);
    EXPECT_EQ(out, text);
    EXPECT_EQ(Decode("X-GZIP", Pack(text, 31), out), 200);
    EXPECT_EQ(Decode("deflate", Pack(text, 15), out, 1 << 24, 77), 200);
    EXPECT_EQ(out, text);
    EXPECT_EQ(Decode("deflate", Pack(text, -15), out), 200);
    EXPECT_EQ(out, text);
    EXPECT_EQ(Decode("gzip", Pack(text, 31) + Pack("more", 31), out), 200);
    EXPECT_EQ(out, text + "more");
  }
}

TEST(DecodeContent, RefusesWhatItCannotUndo) {
  std::string out;
  EXPECT_EQ(Decode("br", "x", out), 415);
  EXPECT_EQ(Decode("gzip, gzip", "x", out), 415);
  EXPECT_EQ(Decode("gzip", "", out), 400);
  EXPECT_EQ(Decode("gzip", "garbage", out), 400);
  EXPECT_EQ(Decode("deflate", "garbage", out), 400);
  const std::string packed = Pack(std::string(100000, 'a'), 31);
  EXPECT_EQ(Decode("gzip", packed.substr(0, packed.size() - 4), out), 400);
  EXPECT_EQ(Decode("gzip", packed + "x", out), 400);
  EXPECT_EQ(Decode("gzip", packed, out, 99999), 413);
  EXPECT_EQ(Decode("gzip", packed, out, 100000), 200);
  EXPECT_EQ(Decode("gzip", Pack(std::string(size_t{64} << 20, 'a'), 31), out, 1000), 413);
}

TEST(DecodeContent, MutatedDataNeverHarms) {
  std::mt19937 random(3);
  const std::string packed = Pack("{\"instances\":[1,2,3,4,5,6,7,8,9,10]}", 31);
  for (int i = 0; i < 3000; ++i) {
    std::string mutated = packed;
    mutated[random() % mutated.size()] = static_cast<char>(random());
    if (i % 3 == 0) mutated.resize(random() % mutated.size());
    std::string out;
    Decode(i % 2 ? "gzip" : "deflate", mutated, out, 5000);
  }
}

std::string Coded(const std::string& accept, size_t size = 5000) {
  HttpReply reply = JsonReply(std::string(size, 'a'));
  reply.body.Append("tail");
  EncodeContent(accept, reply);
  EXPECT_EQ(reply.headers.find("Vary: Accept-Encoding\r\n") != std::string::npos, size > 1024) << accept;
  const size_t at = reply.headers.find("Content-Encoding: ");
  if (at == std::string::npos) {
    EXPECT_EQ(reply.body.size(), size + 4);
    return "";
  }
  const std::string name = reply.headers.substr(at + 18, reply.headers.find('\r', at) - at - 18);
  std::string out;
  EXPECT_EQ(Decode(name, reply.body.Flatten(), out), 200);
  EXPECT_EQ(out, std::string(size, 'a') + "tail");
  return name;
}

TEST(EncodeContent, DoesWhatTheClientPrefers) {
  EXPECT_EQ(Coded(""), "");
  EXPECT_EQ(Coded("gzip"), "gzip");
  EXPECT_EQ(Coded("deflate"), "deflate");
  EXPECT_EQ(Coded("gzip, deflate, br"), "gzip");
  EXPECT_EQ(Coded("gzip;q=0.1, deflate;q=0.5"), "deflate");
  EXPECT_EQ(Coded("gzip;q=0"), "");
  EXPECT_EQ(Coded("gzip;q=0, *"), "deflate");
  EXPECT_EQ(Coded("*;q=0"), "");
  EXPECT_EQ(Coded("GZip ; Q=1.0"), "gzip");
  EXPECT_EQ(Coded("identity, gzip;q=0.5"), "");
  EXPECT_EQ(Coded("br"), "");
  EXPECT_EQ(Coded("gzip", 900), "");
}

}  // namespace
}  // namespace switchyard
