#include "server/recorded_requests.h"

#include <rapidjson/document.h>
#include <rapidjson/error/en.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "protocol/http/http_message.h"
#include "protocol/kserve/rest_codec.h"
#include "tools/files.h"
#include "tools/npy.h"

namespace switchyard {
namespace {

constexpr uintmax_t kMostBytes = uintmax_t{1} << 30;

HttpBody BodyOf(std::string_view text) {
  HttpBody body;
  body.offset = BodyOffset(0);
  body.size = text.size();
  body.memory = Buffer::Allocate(body.offset + text.size() + kBodyPadding);
  std::memset(body.memory.data(), 0, body.memory.size());
  std::memcpy(body.memory.data() + body.offset, text.data(), text.size());
  return body;
}

StatusOr<DecodedRequest> OfJson(std::string_view text, const Signature& signature) {
  DecodedRequest request;
  KserveOutputForm form;
  SY_RETURN_IF_ERROR(DecodeKserveInfer(BodyOf(text), std::nullopt, signature, TimePoint(), request, form));
  if (request.shared != nullptr) return InvalidArgument("shared memory cannot be recorded; write the elements as data");
  request.deadline = kNoDeadline;
  return request;
}

StatusOr<std::vector<DecodedRequest>> OfNpy(std::string_view text, const Signature& signature) {
  if (signature.inputs.size() != 1) {
    return InvalidArgument("the model has {} inputs, and a .npy file is of one; record requests in KServe's JSON",
                           signature.inputs.size());
  }
  const TensorSpec& input = signature.inputs.front();
  SY_ASSIGN_OR_RETURN(ClientTensor tensor, ParseNpy(text));
  SY_ASSIGN_OR_RETURN(tensor, ConvertTo(input.type, std::move(tensor)));
  DecodedRequest request;
  Buffer memory = Buffer::Allocate(tensor.data.size());
  std::memcpy(memory.data(), tensor.data.data(), tensor.data.size());
  request.inputs.push_back({input.name, TensorView{input.type, tensor.shape, memory.data(), tensor.data.size()}});
  request.memory.push_back(std::move(memory));
  std::vector<DecodedRequest> requests;
  requests.push_back(std::move(request));
  return requests;
}

}  // namespace

StatusOr<std::vector<DecodedRequest>> ReadRecordedRequests(const std::string& file, const Signature& signature) {
  // A pipe would be waited for, and a device never ends.
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) {
    return InvalidArgument("expected a file of recorded requests, got {}", error ? error.message() : "something else");
  }
  if (const uintmax_t size = std::filesystem::file_size(file, error); error || size > kMostBytes) {
    return InvalidArgument("expected a file of at most {} bytes, got {}", kMostBytes,
                           error ? error.message() : std::to_string(size));
  }
  SY_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  if (file.ends_with(".npy")) return OfNpy(text, signature);
  // Walked without recursion: the file may be anything.
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag | rapidjson::kParseNanAndInfFlag>(
      text.data(), text.size());
  if (document.HasParseError()) {
    return InvalidArgument("expected a KServe inference request in JSON, or a list of them; byte {}: {}",
                           document.GetErrorOffset(), rapidjson::GetParseError_En(document.GetParseError()));
  }
  std::vector<DecodedRequest> requests;
  if (!document.IsArray()) {
    SY_ASSIGN_OR_RETURN(DecodedRequest request, OfJson(text, signature));
    requests.push_back(std::move(request));
    return requests;
  }
  for (const rapidjson::Value& one : document.GetArray()) {
    rapidjson::StringBuffer body;
    rapidjson::Writer<rapidjson::StringBuffer, rapidjson::UTF8<>, rapidjson::UTF8<>, rapidjson::CrtAllocator,
                      rapidjson::kWriteNanAndInfFlag>
        writer(body);
    one.Accept(writer);
    auto request = OfJson({body.GetString(), body.GetSize()}, signature);
    if (!request.ok()) return Annotate(request.status(), fmt::format("request {}", requests.size() + 1));
    requests.push_back(*std::move(request));
  }
  if (requests.empty()) return InvalidArgument("the list of requests is empty; expected at least one");
  return requests;
}

}  // namespace switchyard
