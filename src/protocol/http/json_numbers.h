// Numbers of large tensors, read from JSON's text straight into elements: a general parser spends most of a large request on
// them, and makes a table of all of them first.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// A document without its large arrays of numbers: in the place of each stands a string, "\u0000" and the array's index, that
// nothing else in it can be.
struct LiftedJson {
  std::string rest;                      // with kBodyPadding bytes of capacity behind it
  std::vector<std::string_view> arrays;  // "[[1,2],[3,4]]", in the document
};

// Nothing when there is no such array, or none that would be worth it. Nothing is judged: `rest` and each of `arrays`, read by
// NumberArray, are well-formed together when `text` is. `text` is not kept, but `arrays` lie in it.
std::optional<LiftedJson> LiftNumbers(std::string_view text);

// The index that such a string stands for; none for any other.
std::optional<size_t> LiftedIndex(std::string_view string);

// One number of JSON, by its grammar, as it stands in the text.
struct NumberToken {
  const char* begin = nullptr;
  const char* end = nullptr;
  uint64_t digits = 0;  // all of them, without the point; meaningless when `many`
  int exponent = 0;     // the value is digits times 10 to the power of it
  bool negative = false;
  bool integer = false;  // neither a point nor an exponent
  bool many = false;     // more than 19 digits, or an exponent of more than four
};

// False when there is no number at `at`, which must be followed by 8 readable bytes behind the number's last.
bool ReadToken(const char* at, NumberToken& token);

// The double that is nearest, as any reader of JSON would have it. False when it is out of range or no more than zero is left.
bool ToDouble(const NumberToken& token, double& out);
// static_cast<float> of that, mostly without making it. False when the double cannot be had, or is beyond a float.
bool ToFloat(const NumberToken& token, float& out);

inline const char* SkipJsonSpace(const char* at) {
  while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') ++at;
  return at;
}

}  // namespace switchyard
