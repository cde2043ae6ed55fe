#include <grpcpp/channel.h>

#include <charconv>
#include <utility>

#include "tensorflow.pb.h"
#include "tensorflow_serving.pb.h"
#include "tools/grpc_call.h"
#include "tools/infer_client.h"
#include "tools/tfs_types.h"

namespace switchyard {
namespace {

Shape ToShape(const tensorflow::TensorShapeProto& proto) {
  if (proto.unknown_rank()) return {-1};
  Shape shape;
  for (const auto& dim : proto.dim()) shape.push_back(dim.size());
  return shape;
}

template <typename Map>
std::vector<ClientTensorSpec> ToSpecs(const Map& map) {
  std::vector<ClientTensorSpec> specs;
  for (const auto& [name, info] : map) specs.push_back({name, FromTfsNumber(info.dtype()), ToShape(info.tensor_shape())});
  return specs;
}

// A typed field has one value for each element, or one that stands for all of them.
template <typename Field>
Status AppendValues(const Field& field, size_t count, ClientTensor* tensor) {
  using Value = typename Field::value_type;
  if (field.empty()) return absl::OkStatus();
  const bool one_for_all = field.size() == 1;
  if (!one_for_all && static_cast<size_t>(field.size()) != count) {
    return Error(StatusCode::kUnknown, "output {} has {} values for shape {}", tensor->name, field.size(),
                 ToString(tensor->shape));
  }
  for (size_t i = 0; i < count; ++i) {
    const Value value = field.Get(one_for_all ? 0 : static_cast<int>(i));
    if (tensor->type == ElementType::kFp16 || tensor->type == ElementType::kBf16) {
      const auto bits = static_cast<uint16_t>(value);  // half_val: the bits themselves
      tensor->data.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
    } else if constexpr (std::is_floating_point_v<Value>) {
      SY_RETURN_IF_ERROR(AppendNumber(tensor->type, static_cast<double>(value), &tensor->data));
    } else if constexpr (std::is_same_v<Value, uint64_t>) {
      SY_RETURN_IF_ERROR(AppendNumber(tensor->type, uint64_t{value}, &tensor->data));
    } else {
      SY_RETURN_IF_ERROR(AppendNumber(tensor->type, static_cast<int64_t>(value), &tensor->data));
    }
  }
  return absl::OkStatus();
}

StatusOr<ClientTensor> ToTensor(const std::string& name, const tensorflow::TensorProto& proto) {
  ClientTensor tensor{name, FromTfsNumber(proto.dtype()), ToShape(proto.tensor_shape()), {}, {}};
  constexpr size_t kMostBytes = size_t{1} << 33;
  const auto count = ElementCount(tensor.shape);
  if (tensor.type == ElementType::kUndefined || !count || *count > kMostBytes / 8) {
    return Error(StatusCode::kUnknown, "output {} has dtype {} and shape {}, which cannot be read", name,
                 static_cast<int>(proto.dtype()), ToString(tensor.shape));
  }
  tensor.data = proto.tensor_content();
  tensor.strings.assign(proto.string_val().begin(), proto.string_val().end());
  SY_RETURN_IF_ERROR(AppendValues(proto.float_val(), *count, &tensor));
  SY_RETURN_IF_ERROR(AppendValues(proto.double_val(), *count, &tensor));
  SY_RETURN_IF_ERROR(AppendValues(proto.int_val(), *count, &tensor));
  SY_RETURN_IF_ERROR(AppendValues(proto.int64_val(), *count, &tensor));
  SY_RETURN_IF_ERROR(AppendValues(proto.uint32_val(), *count, &tensor));
  SY_RETURN_IF_ERROR(AppendValues(proto.uint64_val(), *count, &tensor));
  SY_RETURN_IF_ERROR(AppendValues(proto.bool_val(), *count, &tensor));
  SY_RETURN_IF_ERROR(AppendValues(proto.half_val(), *count, &tensor));
  SY_RETURN_IF_ERROR(Annotate(CheckCount(tensor), "the server's answer"));
  return tensor;
}

class TfsGrpcClient final : public InferClient {
 public:
  TfsGrpcClient(const InferTarget& target, int64_t version)
      : target_(target), version_(version), channel_(MakeChannel(target.address)) {}

  Status Connect() override { return WaitUntilConnected(*channel_, target_.address, target_.timeout); }

  StatusOr<ModelDescription> Describe() override {
    tensorflow::serving::GetModelMetadataRequest request;
    tensorflow::serving::GetModelMetadataResponse response;
    FillSpec(request.mutable_model_spec());
    request.add_metadata_field("signature_def");
    SY_RETURN_IF_ERROR(
        CallUnary(*channel_, "/tensorflow.serving.PredictionService/GetModelMetadata", target_.timeout, request, &response));
    tensorflow::serving::SignatureDefMap signatures;
    const auto any = response.metadata().find("signature_def");
    if (any == response.metadata().end() || !any->second.UnpackTo(&signatures)) {
      return Error(StatusCode::kUnknown, "the server's metadata has no signature_def");
    }
    const auto signature = signatures.signature_def().find("serving_default");
    if (signature == signatures.signature_def().end()) {
      return Error(StatusCode::kUnknown, "the server's signature_def has no serving_default");
    }
    return ModelDescription{ToSpecs(signature->second.inputs()), ToSpecs(signature->second.outputs())};
  }

  Status Prepare(const ModelDescription&, const std::vector<ClientTensor>& inputs) override {
    FillSpec(request_.mutable_model_spec());
    for (const ClientTensor& tensor : inputs) {
      tensorflow::TensorProto& proto = (*request_.mutable_inputs())[tensor.name];
      proto.set_dtype(static_cast<tensorflow::DataType>(TfsNumber(tensor.type)));
      proto.mutable_tensor_shape();
      for (const int64_t dim : tensor.shape) proto.mutable_tensor_shape()->add_dim()->set_size(dim);
      if (tensor.type == ElementType::kBytes) {
        for (const std::string& text : tensor.strings) proto.add_string_val(text);
      } else {
        proto.set_tensor_content(tensor.data);
      }
    }
    return absl::OkStatus();
  }

  Status Call() override {
    return CallUnary(*channel_, "/tensorflow.serving.PredictionService/Predict", target_.timeout, request_, &response_);
  }

  StatusOr<std::vector<ClientTensor>> Outputs() override {
    std::vector<ClientTensor> outputs;
    for (const auto& [name, proto] : response_.outputs()) {
      SY_ASSIGN_OR_RETURN(ClientTensor tensor, ToTensor(name, proto));
      outputs.push_back(std::move(tensor));
    }
    return outputs;
  }

 private:
  void FillSpec(tensorflow::serving::ModelSpec* spec) const {
    spec->set_name(target_.model);
    if (!target_.version.empty()) spec->mutable_version()->set_value(version_);
  }

  const InferTarget target_;
  const int64_t version_;
  std::shared_ptr<grpc::Channel> channel_;
  tensorflow::serving::PredictRequest request_;
  tensorflow::serving::PredictResponse response_;
};

}  // namespace

StatusOr<std::unique_ptr<InferClient>> MakeTfsGrpcClient(const InferTarget& target) {
  int64_t version = 0;
  const char* end = target.version.data() + target.version.size();
  const auto [stop, error] = std::from_chars(target.version.data(), end, version);
  if (!target.version.empty() && (error != std::errc() || stop != end)) {
    return InvalidArgument("--version {}: over tfs-grpc a version is a number", target.version);
  }
  return std::make_unique<TfsGrpcClient>(target, version);
}

}  // namespace switchyard
