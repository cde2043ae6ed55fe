// Between OpenVINO's vocabulary and ours: types, shapes, and exceptions, none of which leaves this folder.
#pragma once

#include <exception>
#include <openvino/core/except.hpp>
#include <openvino/core/partial_shape.hpp>
#include <openvino/core/type/element_type.hpp>
#include <openvino/runtime/exception.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "tensor/element_type.h"
#include "tensor/shape.h"

namespace switchyard {

// kUndefined for the types that no protocol can carry (u4, nf4, f8e4m3, ...).
ElementType FromOpenVino(const ov::element::Type& type);
ov::element::Type ToOpenVino(ElementType type);
PartialShape FromOpenVino(const ov::PartialShape& shape);
ov::PartialShape ToOpenVino(const PartialShape& shape);

// What an exception says, without the places in OpenVINO's source that it went through: the first useful lines, "; " between.
std::string ReadableMessage(std::string_view what);

// "layer "fc1" (opset1::MatMul) cannot take it: ...", from OpenVINO's words about a node that it could not validate.
std::string LayerMessage(std::string_view what);

// Runs `call`, which uses OpenVINO and returns a Status or a StatusOr. An exception becomes an error with `code` and the
// message
// "<context>: <what it says>".
template <typename Call>
auto Guarded(StatusCode code, std::string_view context, Call&& call) -> decltype(call()) {
  try {
    return std::forward<Call>(call)();
  } catch (const ov::Cancelled& exception) {
    return Error(StatusCode::kCancelled, "{}: {}", context, ReadableMessage(exception.what()));
  } catch (const std::exception& exception) {
    return Error(code, "{}: {}", context, ReadableMessage(exception.what()));
  } catch (...) {
    return Error(code, "{}: an exception of an unknown kind", context);
  }
}

}  // namespace switchyard
