#include <grpcpp/channel.h>

#include <utility>

#include "kserve.pb.h"
#include "tools/grpc_call.h"
#include "tools/infer_client.h"

namespace switchyard {
namespace {

template <typename Message>
ClientTensorSpec ToSpec(const Message& message) {
  ClientTensorSpec spec;
  spec.name = message.name();
  spec.type = FromKserveName(message.datatype()).value_or(ElementType::kUndefined);
  spec.shape.assign(message.shape().begin(), message.shape().end());
  return spec;
}

template <typename Field>
Status AppendAll(const Field& field, ClientTensor* tensor) {
  using Wide = std::conditional_t<std::is_floating_point_v<typename Field::value_type>, double,
                                  std::conditional_t<std::is_unsigned_v<typename Field::value_type>, uint64_t, int64_t>>;
  for (const auto value : field) SY_RETURN_IF_ERROR(AppendNumber(tensor->type, static_cast<Wide>(value), &tensor->data));
  return absl::OkStatus();
}

Status AppendContents(const inference::InferTensorContents& contents, ClientTensor* tensor) {
  tensor->strings.assign(contents.bytes_contents().begin(), contents.bytes_contents().end());
  SY_RETURN_IF_ERROR(AppendAll(contents.bool_contents(), tensor));
  SY_RETURN_IF_ERROR(AppendAll(contents.int_contents(), tensor));
  SY_RETURN_IF_ERROR(AppendAll(contents.int64_contents(), tensor));
  SY_RETURN_IF_ERROR(AppendAll(contents.uint_contents(), tensor));
  SY_RETURN_IF_ERROR(AppendAll(contents.uint64_contents(), tensor));
  SY_RETURN_IF_ERROR(AppendAll(contents.fp32_contents(), tensor));
  return AppendAll(contents.fp64_contents(), tensor);
}

class KserveGrpcClient final : public InferClient {
 public:
  explicit KserveGrpcClient(const InferTarget& target) : target_(target), channel_(MakeChannel(target.address)) {}

  Status Connect() override { return WaitUntilConnected(*channel_, target_.address, target_.timeout); }

  StatusOr<ModelDescription> Describe() override {
    inference::ModelMetadataRequest request;
    inference::ModelMetadataResponse response;
    request.set_name(target_.model);
    request.set_version(target_.version);
    SY_RETURN_IF_ERROR(
        CallUnary(*channel_, "/inference.GRPCInferenceService/ModelMetadata", target_.timeout, request, &response));
    ModelDescription model;
    for (const auto& input : response.inputs()) model.inputs.push_back(ToSpec(input));
    for (const auto& output : response.outputs()) model.outputs.push_back(ToSpec(output));
    return model;
  }

  Status Prepare(const ModelDescription&, const std::vector<ClientTensor>& inputs) override {
    request_.set_model_name(target_.model);
    request_.set_model_version(target_.version);
    for (const ClientTensor& tensor : inputs) {
      auto* input = request_.add_inputs();
      input->set_name(tensor.name);
      input->set_datatype(std::string(KserveName(tensor.type)));
      for (const int64_t dim : tensor.shape) input->add_shape(dim);
      request_.add_raw_input_contents(tensor.type == ElementType::kBytes ? PackStrings(tensor.strings) : tensor.data);
    }
    return absl::OkStatus();
  }

  Status Call() override {
    return CallUnary(*channel_, "/inference.GRPCInferenceService/ModelInfer", target_.timeout, request_, &response_);
  }

  StatusOr<std::vector<ClientTensor>> Outputs() override {
    std::vector<ClientTensor> outputs;
    for (int i = 0; i < response_.outputs_size(); ++i) {
      ClientTensorSpec spec = ToSpec(response_.outputs(i));
      ClientTensor tensor{std::move(spec.name), spec.type, std::move(spec.shape), {}, {}};
      if (response_.raw_output_contents_size() == 0) {
        SY_RETURN_IF_ERROR(AppendContents(response_.outputs(i).contents(), &tensor));
      } else if (i >= response_.raw_output_contents_size()) {
        return Error(StatusCode::kUnknown, "the server's answer has {} outputs and the contents of {}",
                     response_.outputs_size(), response_.raw_output_contents_size());
      } else if (tensor.type == ElementType::kBytes) {
        SY_ASSIGN_OR_RETURN(tensor.strings, UnpackStrings(response_.raw_output_contents(i)));
      } else {
        tensor.data = response_.raw_output_contents(i);
      }
      SY_RETURN_IF_ERROR(Annotate(CheckCount(tensor), "the server's answer"));
      outputs.push_back(std::move(tensor));
    }
    return outputs;
  }

 private:
  const InferTarget target_;
  std::shared_ptr<grpc::Channel> channel_;
  inference::ModelInferRequest request_;
  inference::ModelInferResponse response_;
};

}  // namespace

std::unique_ptr<InferClient> MakeKserveGrpcClient(const InferTarget& target) {
  return std::make_unique<KserveGrpcClient>(target);
}

}  // namespace switchyard
