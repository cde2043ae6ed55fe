// From JSON values to the elements of one tensor, straight into its memory.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "protocol/http/json_reader.h"
#include "tensor/buffer.h"
#include "tensor/element_type.h"
#include "tensor/shape.h"
#include "tensor/tensor_view.h"

namespace switchyard {

// What becomes of numbers that are not of the tensor's own kind.
enum class NumberRule {
  // KServe: integers for integer types, JSON's true and false for BOOL.
  kExact,
  // TensorFlow-Serving as OVMS has it: fractions are cut off towards zero; 0 and 1 are taken for BOOL.
  kCast,
};

// Every value is checked against the range of its type, floating-point types too. These take NaN, Infinity and -Infinity as
// well, bare or as strings. kBytes takes strings, and with kCast {"b64": "..."} too.
class JsonElements {
 public:
  // `hint`: how many elements will probably come. `limit`: how many can come at most; memory is taken for `hint` at first, but
  // never for more than `limit`.
  JsonElements(ElementType type, NumberRule rule, size_t hint, size_t limit);

  // All values below `value`, in order, whatever the nesting.
  Status AppendFlat(JsonValue value);
  // All values of `array`, none of which may be an array.
  Status AppendLeaves(JsonArray array);
  Status AppendLeaf(JsonValue value);
  // All numbers of an array that was left out of the document (JsonDocument::TakeNumbers), and its shape. False when they are
  // not of an array with a shape, or not all of them values of the type: JsonDocument::Parse and the above say what is wrong,
  // or take them all the same.
  bool AppendNumbers(std::string_view text, Shape& shape);

  size_t count() const { return count_; }
  // Of kBytes, the string table lies in `table` and its text in `memory`; shape and name are the caller's. Call once.
  TensorView Finish(std::vector<Buffer>& memory, std::vector<std::unique_ptr<std::string_view[]>>& tables);

 private:
  template <typename T, bool kNested>
  Status AppendAs(JsonArray array);
  template <bool kNested>
  Status AppendArray(JsonArray array);
  template <typename T>
  bool AppendNumbersAs(std::string_view text, Shape& shape);
  template <typename T>
  const char* AppendRow(const char* at, int64_t& size);
  Status AppendString(JsonValue value);
  Status Unfit(JsonValue value) const;
  void Grow();

  const ElementType type_;
  const NumberRule rule_;
  const size_t limit_;
  size_t count_ = 0;
  size_t capacity_ = 0;
  Buffer values_;
  std::vector<std::string_view> strings_;  // into the document or decoded_
  std::deque<std::string> decoded_;
};

// True for {"b64": "..."}.
bool IsBase64Object(JsonValue value);
// True for an object that is a value: that, or a bare word.
bool IsValueObject(JsonValue value);

}  // namespace switchyard
