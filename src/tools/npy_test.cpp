#include "tools/npy.h"

#include <gtest/gtest.h>

#include <string>

namespace switchyard {
namespace {

std::string Npy(const std::string& header, const std::string& data, char version = 1) {
  std::string file = "\x93NUMPY";
  file += {version, '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  if (version > 1) file += std::string(2, '\0');
  return file + header + data;
}

std::string Header(const std::string& descr, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }      \n";
}

TEST(Npy, ReadsWhatNumpyWrites) {
  const auto tensor = ParseNpy(Npy(Header("<i2", "(2, 3)"), "abcdefghijkl"));
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->type, ElementType::kInt16);
  EXPECT_EQ(tensor->shape, (Shape{2, 3}));
  EXPECT_EQ(tensor->data, "abcdefghijkl");
  EXPECT_EQ(ParseNpy(Npy(Header("|u1", "(3,)"), "abc", 2))->shape, (Shape{3}));
  EXPECT_EQ(ParseNpy(Npy(Header("<f8", "()"), "12345678"))->shape, Shape{});
  EXPECT_EQ(ParseNpy(Npy(Header("|b1", "(0, 4)"), ""))->shape, (Shape{0, 4}));
  EXPECT_EQ(ParseNpy(Npy(Header("<u1", "(3,)", "True"), "abc"))->shape, (Shape{3}));
}

TEST(Npy, RefusesWhatItCannotRead) {
  const std::string good = Npy(Header("<i2", "(2, 3)"), "abcdefghijkl");
  for (size_t length = 0; length < good.size(); ++length) EXPECT_FALSE(ParseNpy(good.substr(0, length)).ok()) << length;
  EXPECT_FALSE(ParseNpy(good + "x").ok());
  EXPECT_FALSE(ParseNpy(Npy(Header(">i2", "(1,)"), "ab")).ok());
  EXPECT_FALSE(ParseNpy(Npy(Header("<i2", "(2, 1)", "True"), "abcd")).ok());
  EXPECT_FALSE(ParseNpy(Npy(Header("<U4", "(1,)"), "abcdabcdabcdabcd")).ok());
  EXPECT_FALSE(ParseNpy(Npy(Header("<i2", "(-1,)"), "")).ok());
  EXPECT_FALSE(ParseNpy(Npy(Header("<i2", "(9223372036854775807, 9)"), "")).ok());
  EXPECT_FALSE(ParseNpy(Npy(Header("<i2", "(99999999999999999999,)"), "")).ok());
  EXPECT_FALSE(ParseNpy(Npy("{}", "")).ok());
  EXPECT_FALSE(ParseNpy(Npy(Header("<i2", "(1,)"), "ab", 9)).ok());
}

TEST(ConvertTo, ChangesTheTypeAndKeepsTheValues) {
  const auto doubles = ParseNpy(Npy(Header("<f8", "(1,)"), std::string("\0\0\0\0\0\0\x08\x40", 8)));
  ASSERT_TRUE(doubles.ok()) << doubles.status();
  EXPECT_EQ(ConvertTo(ElementType::kInt32, *doubles)->data, std::string("\3\0\0\0", 4));
  EXPECT_EQ(ConvertTo(ElementType::kFp32, *doubles)->data, std::string("\0\0\x40\x40", 4));
  EXPECT_FALSE(ConvertTo(ElementType::kBool, *doubles).ok());
}

}  // namespace
}  // namespace switchyard
