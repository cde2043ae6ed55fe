#include "transport/grpc/reflection.h"

#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/support/async_stream.h>

#include <set>
#include <utility>

#include "reflection_v1.pb.h"
#include "reflection_v1alpha.pb.h"
#include "transport/grpc/messages.h"

namespace switchyard::grpc_listener {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
// For both versions, which are the same on the wire.
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

void FillError(grpc::StatusCode code, const std::string& text, ServerReflectionResponse& response) {
  response.mutable_error_response()->set_error_code(code);
  response.mutable_error_response()->set_error_message(text);
}

// The file, and what it imports.
void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>& seen, ServerReflectionResponse& response) {
  if (!seen.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.mutable_file_descriptor_response()->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), seen, response);
}

void FillFile(const FileDescriptor* file, const std::string& asked, ServerReflectionResponse& response) {
  if (file == nullptr) return FillError(grpc::StatusCode::NOT_FOUND, asked + " is not known to this server", response);
  std::set<const FileDescriptor*> seen;
  AddFile(*file, seen, response);
}

void FillExtensionNumbers(const std::string& type, ServerReflectionResponse& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const Descriptor* const message = pool.FindMessageTypeByName(type);
  if (message == nullptr) return FillError(grpc::StatusCode::NOT_FOUND, type + " is not known to this server", response);
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(message, &extensions);
  auto& numbers = *response.mutable_all_extension_numbers_response();
  numbers.set_base_type_name(type);
  for (const FieldDescriptor* const extension : extensions) numbers.add_extension_number(extension->number());
}

ServerReflectionResponse Answer(const ServerReflectionRequest& request, const std::vector<std::string>& names) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      FillFile(pool.FindFileByName(request.file_by_filename()), request.file_by_filename(), response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      FillFile(pool.FindFileContainingSymbol(request.file_containing_symbol()), request.file_containing_symbol(), response);
      break;
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      const Descriptor* const message = pool.FindMessageTypeByName(asked.containing_type());
      const FieldDescriptor* const extension =
          message == nullptr ? nullptr : pool.FindExtensionByNumber(message, asked.extension_number());
      FillFile(extension == nullptr ? nullptr : extension->file(), "The extension of " + asked.containing_type(), response);
      break;
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      FillExtensionNumbers(request.all_extension_numbers_of_type(), response);
      break;
    case ServerReflectionRequest::kListServices:
      for (const std::string& name : names) response.mutable_list_services_response()->add_service()->set_name(name);
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      FillError(grpc::StatusCode::INVALID_ARGUMENT, "The request asks for nothing that this server knows", response);
  }
  return response;
}

}  // namespace

// Owns itself; answers one message after the other. One event is under way at a time, so that nothing is locked.
class ReflectionCall {
 public:
  ReflectionCall(ReflectionService& service, grpc::ServerCompletionQueue& queue) : service_(service), queue_(queue) {
    service_.context_.Born();
    service_.RequestInfo(context_, stream_, queue_, request_event_);
  }
  ~ReflectionCall() { service_.context_.Died(); }

 private:
  void OnRequest(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    service_.Arm(queue_);
    Read();
  }
  void Read() { stream_.Read(&message_, static_cast<Event*>(&read_event_)); }
  void OnRead(bool ok) {
    if (!ok) return Finish(absl::OkStatus());
    ServerReflectionRequest request;
    const bool read = ReadMessage(message_, [&](google::protobuf::io::ZeroCopyInputStream& stream, size_t) {
      return request.ParseFromZeroCopyStream(&stream);
    });
    message_.Clear();
    if (!read) return Finish(InvalidArgument("The message is not a ServerReflectionRequest"));
    const std::string answer = Answer(request, service_.names_).SerializeAsString();
    stream_.Write(ToByteBuffer(Frame(answer)), static_cast<Event*>(&written_event_));
  }
  void OnWritten(bool ok) {
    if (!ok) return Finish(absl::OkStatus());
    Read();
  }
  void Finish(const Status& status) { stream_.Finish(ToGrpcStatus(status), static_cast<Event*>(&finished_event_)); }
  void OnFinished(bool) { delete this; }

  ReflectionService& service_;
  grpc::ServerCompletionQueue& queue_;
  CallEvent<ReflectionCall, &ReflectionCall::OnRequest> request_event_{*this};
  CallEvent<ReflectionCall, &ReflectionCall::OnRead> read_event_{*this};
  CallEvent<ReflectionCall, &ReflectionCall::OnWritten> written_event_{*this};
  CallEvent<ReflectionCall, &ReflectionCall::OnFinished> finished_event_{*this};
  grpc::ByteBuffer message_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_{&context_};
};

std::vector<const google::protobuf::ServiceDescriptor*> ReflectionService::Versions() {
  return {grpc::reflection::v1::ServerReflectionRequest::descriptor()->file()->service(0),
          grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()->file()->service(0)};
}

ReflectionService::ReflectionService(CallContext& context, const google::protobuf::ServiceDescriptor& version,
                                     std::vector<std::string> names)
    : context_(context), path_("/" + version.full_name() + "/" + version.method(0)->name()), names_(std::move(names)) {
  using grpc::internal::RpcMethod;
  AddMethod(new grpc::internal::RpcServiceMethod(path_.c_str(), RpcMethod::BIDI_STREAMING, nullptr));
  MarkMethodRaw(0);
}

void ReflectionService::Open(grpc::ServerCompletionQueue& queue) { Arm(queue); }

void ReflectionService::Arm(grpc::ServerCompletionQueue& queue) {
  if (!gate_.Enter(context_.stopping)) return;
  new ReflectionCall(*this, queue);
  gate_.Leave();
}

}  // namespace switchyard::grpc_listener
