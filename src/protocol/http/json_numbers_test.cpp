// Numbers read from the text are those that the general parser reads, and nothing is taken that it refuses.
#include "protocol/http/json_numbers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "protocol/http/json_elements.h"
#include "protocol/http/json_reader.h"
#include "protocol/http/test_body.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;

constexpr ElementType kTypes[] = {ElementType::kInt8,  ElementType::kInt16,  ElementType::kInt32,  ElementType::kInt64,
                                  ElementType::kUint8, ElementType::kUint16, ElementType::kUint32, ElementType::kUint64,
                                  ElementType::kFp16,  ElementType::kBf16,   ElementType::kFp32,   ElementType::kFp64};

// The elements' bytes; none where they are refused.
std::optional<std::string> Bytes(JsonElements& elements) {
  std::vector<Buffer> memory;
  std::vector<std::unique_ptr<std::string_view[]>> tables;
  const TensorView view = elements.Finish(memory, tables);
  return std::string(reinterpret_cast<const char*>(view.data), view.bytes);
}

std::optional<std::string> ByParser(const std::string& text, ElementType type, NumberRule rule) {
  const HttpBody body = MakeBody(text);
  JsonDocument document;
  const auto root = document.Parse(body.view());
  JsonElements elements(type, rule, 1, text.size());
  if (!root.ok() || !elements.AppendFlat(*root).ok()) return std::nullopt;
  return Bytes(elements);
}

std::optional<std::string> ByText(const std::string& text, ElementType type, NumberRule rule, Shape* shape = nullptr) {
  const HttpBody body = MakeBody(text);
  JsonElements elements(type, rule, 1, text.size());
  Shape unused;
  if (!elements.AppendNumbers(body.view(), shape != nullptr ? *shape : unused)) return std::nullopt;
  return Bytes(elements);
}

// As programs write numbers: shortest, as Python's repr of a float32 that became a double, fixed, with exponents, integers.
std::string RandomNumber(std::mt19937_64& random) {
  const double sign = random() % 2 == 0 ? 1 : -1;
  const double fraction = std::uniform_real_distribution<double>(0, 1)(random);
  switch (random() % 10) {
    case 0:
      return fmt::format("{}", sign * fraction);
    case 1:
      return fmt::format("{}", static_cast<double>(static_cast<float>(sign * fraction)));
    case 2:
      return fmt::format("{}", static_cast<float>(sign * fraction * 1000));
    case 3:
      return fmt::format("{:.6f}", sign * fraction * 255);
    case 4:
      return fmt::format("{:e}", sign * std::ldexp(fraction, static_cast<int>(random() % 250) - 125));
    case 5:
      return fmt::format("{}", static_cast<int>(random() % 600) - 300);
    case 6:
      return fmt::format("{}", static_cast<int64_t>(random()) >> (random() % 64));
    case 7:
      return fmt::format("{:.{}f}", sign * fraction, random() % 24 + 1);
    case 8:
      return fmt::format("{:.1f}E{}{}", sign * fraction * 9, random() % 2 == 0 ? "+" : "-", random() % 40);
    default: {
      // Halfway between two floats, and a little beside it: where a double that is almost right gives the wrong float.
      const auto bits = static_cast<uint32_t>(random());
      const double low = std::bit_cast<float>((bits & 0x807FFFFF) | ((127 - 20 + bits % 40) << 23));
      const double high = std::nextafter(static_cast<float>(low), std::numeric_limits<float>::infinity());
      const double middle = (low + high) / 2;
      const int beside = static_cast<int>(random() % 5) - 2;
      return fmt::format("{:.17g}", std::bit_cast<double>(std::bit_cast<int64_t>(middle) + beside));
    }
  }
}

TEST(JsonNumbers, AreThoseThatTheParserReads) {
  std::mt19937_64 random(1);
  size_t read = 0;
  for (int round = 0; round < 300; ++round) {
    std::string text = "[";
    const bool integers = round % 3 == 0;
    for (int i = 0; i < 40; ++i) {
      if (i > 0) text += random() % 4 == 0 ? " ,\n\t" : ",";
      text += integers ? fmt::format("{}", static_cast<int64_t>(random()) >> (32 + round % 32)) : RandomNumber(random);
    }
    text += "]";
    for (const ElementType type : kTypes) {
      for (const NumberRule rule : {NumberRule::kExact, NumberRule::kCast}) {
        const auto fast = ByText(text, type, rule);
        if (!fast) continue;  // left to the parser, which may take it
        ++read;
        ASSERT_EQ(fast, ByParser(text, type, rule)) << text;
      }
    }
  }
  EXPECT_GT(read, 1500U) << "almost nothing was read";
}

TEST(JsonNumbers, OfFloatsAndOfIntegersAreAllRead) {
  std::string floats = "[", integers = "[";
  std::mt19937_64 random(2);
  for (int i = 0; i < 1000; ++i) {
    const double value = static_cast<float>(std::uniform_real_distribution<double>(-1, 1)(random));
    floats += fmt::format("{}{}", i == 0 ? "" : ", ", value);
    integers += fmt::format("{}{}", i == 0 ? "" : ", ", random() % 256);
  }
  floats += "]", integers += "]";
  for (const ElementType type : {ElementType::kFp16, ElementType::kBf16, ElementType::kFp32, ElementType::kFp64}) {
    EXPECT_EQ(ByText(floats, type, NumberRule::kExact), ByParser(floats, type, NumberRule::kExact));
    EXPECT_TRUE(ByText(floats, type, NumberRule::kExact)) << KserveName(type);
  }
  for (const ElementType type : {ElementType::kUint8, ElementType::kInt64, ElementType::kFp32}) {
    EXPECT_TRUE(ByText(integers, type, NumberRule::kExact)) << KserveName(type);
  }
  EXPECT_TRUE(ByText("[1.9, -1.9, 3e0]", ElementType::kInt8, NumberRule::kCast));
}

TEST(JsonNumbers, SpecialOnesAreAsTheParserHasThem) {
  for (const char* text : {"[-0]",
                           "[-0.0]",
                           "[0.0]",
                           "[1e22]",
                           "[1e23]",
                           "[1e-22]",
                           "[5e-324]",
                           "[3.4028235e38]",
                           "[1.401298464324817e-45]",
                           "[0e0]",
                           "[9007199254740993]",
                           "[9007199254740993.0]",
                           "[9223372036854775807]",
                           "[-9223372036854775808]",
                           "[18446744073709551615]",
                           "[0.1234567890123456789]",
                           "[123456789012345678901234567890.5]",
                           "[1.0000000596046448]",
                           "[1.00000005960464477539062500001]",
                           "[0.0000000000000000, -0.00000000000000000, 0.00000000000000001]",
                           "[12345678.5, -123456789.5, 99999999.9999999999999999]",
                           "[-1234567.12345678901234567890]",
                           "[0.00000095, 0.00000096]"}) {
    for (const ElementType type : kTypes) {
      const auto fast = ByText(text, type, NumberRule::kCast);
      if (fast) {
        EXPECT_EQ(fast, ByParser(text, type, NumberRule::kCast)) << text << " " << KserveName(type);
      }
    }
  }
}

TEST(JsonNumbers, WhatIsNoNumberIsNotTaken) {
  for (const char* text :
       {"[01]",        "[1.]",        "[.5]",     "[+1]",   "[1e]",    "[1e+]",  "[--1]",   "[-]",     "[1 2]",
        "[1,]",        "[,1]",        "[1,,2]",   "[NaN]",  "[1e999]", "[0x10]", "[1_000]", "[1.5.5]", "[1ee5]",
        "[\"1\"]",     "[true]",      "[1,null]", "[00.5]", "[-00.5]", "[-.5]",  "[1.5e]",  "[[1],2]", "[1,[2]]",
        "[[1],[2,3]]", "[[[1]],[2]]", "[[1]2]",   "[1}]",   "[1\v]",   "[[]]"}) {
    EXPECT_FALSE(ByText(text, ElementType::kFp32, NumberRule::kCast)) << text;
  }
}

// Whatever a text is made into, what is taken from it is what the parser takes.
TEST(JsonNumbers, OfBrokenTextsNoneIsTakenThatTheParserRefuses) {
  std::mt19937_64 random(3);
  constexpr std::string_view kAlphabet = "0123456789.eE+-,[] \"{}:tnN\\";
  for (int round = 0; round < 30000; ++round) {
    std::string text = "[[1.5,-2,3e-2],[4,0.25,6]]";
    for (int i = 0; i < 2; ++i) text[random() % text.size()] = kAlphabet[random() % kAlphabet.size()];
    const auto fast = ByText(text, ElementType::kFp32, NumberRule::kCast);
    if (fast) {
      ASSERT_EQ(fast, ByParser(text, ElementType::kFp32, NumberRule::kCast)) << text;
    }
  }
}

TEST(JsonNumbers, NestedOnesHaveAShape) {
  Shape shape;
  EXPECT_TRUE(ByText("[ [[1,2,3]] , [[4,5,6]] ]", ElementType::kInt8, NumberRule::kExact, &shape));
  EXPECT_THAT(shape, ElementsAre(2, 1, 3));
  EXPECT_TRUE(ByText("[7]", ElementType::kInt8, NumberRule::kExact, &shape));
  EXPECT_THAT(shape, ElementsAre(1));
}

std::string Numbers(size_t count) {
  std::string text = "[";
  for (size_t i = 0; i < count; ++i) text += fmt::format("{}{}.25", i == 0 ? "" : ",", i);
  return text + "]";
}

TEST(LiftNumbers, LeavesTheRestOfTheDocument) {
  const std::string many = Numbers(4000);
  const std::string text = R"({"a": ")" + std::string("[1,2\\\"]") + R"(", "data": )" + many + R"(, "nested": [)" + many + "," +
                           many + R"(], "few": [1,2]})";
  const auto lifted = LiftNumbers(text);
  ASSERT_TRUE(lifted);
  EXPECT_EQ(lifted->rest, R"({"a": "[1,2\"]", "data": "\u00000", "nested": "\u00001", "few": [1,2]})");
  EXPECT_THAT(lifted->arrays, ElementsAre(many, "[" + many + "," + many + "]"));
  EXPECT_EQ(LiftedIndex(std::string_view("\0"
                                         "1",
                                         2)),
            1U);
  EXPECT_FALSE(LiftedIndex("1"));
  EXPECT_FALSE(LiftedIndex(std::string_view("\0x", 2)));
  EXPECT_FALSE(LiftedIndex(std::string_view("\0", 1)));
}

TEST(LiftNumbers, IsNotDoneWhereItIsNoUseOrNotSafe) {
  const std::string many = Numbers(4000);
  EXPECT_FALSE(LiftNumbers("[1,2,3]"));
  EXPECT_FALSE(LiftNumbers("{\"a\": \"" + std::string(50000, 'x') + "\"}"));
  EXPECT_FALSE(LiftNumbers(R"({"a": "\u00000", "data": )" + many + "}")) << "a string that looks like a lifted array";
  EXPECT_FALSE(LiftNumbers(std::string(30000, '[')));
  EXPECT_FALSE(LiftNumbers(std::string(95, '[') + many + std::string(95, ']'))) << "the depth could not be told any more";
  std::string brackets;
  for (int i = 0; i < 20000; ++i) brackets += "[1";
  EXPECT_FALSE(LiftNumbers(brackets));
}

// Documents that are broken around the numbers, or where numbers are no value, are never read as whole.
TEST(LiftNumbers, WhatIsBrokenAroundThemIsStillFound) {
  const std::string many = Numbers(4000);
  for (const std::string& text : {"{" + many + ": 1}", "{\"a\": " + many + " 5}", "{\"a\": -" + many + "}",
                                  "{\"a\" " + many + "}", "{\"a\": " + many + "\"b\"}", many + many}) {
    const HttpBody body = MakeBody(text);
    JsonDocument document;
    const auto root = document.ParseLifted(body.view());
    EXPECT_TRUE(document.lifted()) << text.substr(0, 20);
    EXPECT_FALSE(root.ok() && document.took_all()) << text.substr(0, 20);
    EXPECT_FALSE(document.Parse(body.view()).ok()) << text.substr(0, 20);
  }
}

}  // namespace
}  // namespace switchyard
