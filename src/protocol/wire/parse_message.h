// Messages that are small enough to be read by protobuf's own parser.
#pragma once

#include <google/protobuf/io/zero_copy_stream.h>
#include <google/protobuf/message.h>

#include "base/status.h"

namespace switchyard::wire {

// InvalidArgument when the bytes are no `Message`.
template <typename Message>
StatusOr<Message> ParseMessage(google::protobuf::io::ZeroCopyInputStream& stream) {
  Message message;
  if (message.ParseFromZeroCopyStream(&stream)) return message;
  return InvalidArgument("The message could not be decoded as {}", Message::descriptor()->full_name());
}

}  // namespace switchyard::wire
