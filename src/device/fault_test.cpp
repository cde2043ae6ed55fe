#include "device/fault.h"

#include <absl/strings/cord.h>
#include <gtest/gtest.h>

#include <string>

namespace switchyard {
namespace {

const char* const kOutOfResources =
    "Exception from src/inference/src/cpp/infer_request.cpp:223:\nException from src/plugins/intel_gpu/src/runtime/ocl/"
    "ocl_common.hpp:60:\n[GPU] CL_OUT_OF_RESOURCES exception.\n\tDue to a driver bug, any subsequent OpenCL API call may cause "
    "the application to hang\n\t2. An out-of-bounds access to GPU memory from a kernel.\n";

TEST(ClassifyFaultTest, TellsTheDevicesFromTheModels) {
  const struct {
    const char* device;
    std::string message;
    Fault fault;
  } cases[] = {
      // The device.
      {"GPU.0", kOutOfResources, Fault::kDevice},
      {"GPU.1", "[GPU] clFinish, error code: -5", Fault::kDevice},
      {"GPU.0", "[GPU] clFlush, error code: -14", Fault::kDevice},
      {"GPU.0", "[GPU] clFlush, error code: -9999", Fault::kDevice},
      {"GPU.0", "[GPU] clEnqueueNDRangeKernel, error code: -4", Fault::kDevice},
      {"GPU.0", "[GPU] clEnqueueNDRangeKernel, error code: -6", Fault::kDevice},
      {"GPU.0", "clEnqueueReadBuffer failed", Fault::kDevice},
      {"GPU.0", "[GPU] clCreateBuffer, OpenCL error code: -6", Fault::kDevice},
      {"GPU.0", "CL_OUT_OF_HOST_MEMORY", Fault::kDevice},
      {"GPU.0", "failed: CL_MEM_OBJECT_ALLOCATION_FAILURE", Fault::kDevice},
      {"GPU.0", "clWaitForEvents: CL_DEVICE_NOT_AVAILABLE", Fault::kDevice},
      {"GPU.0", "CL_INVALID_COMMAND_QUEUE", Fault::kDevice},
      {"GPU.0", "[GPU] CL_SOMETHING_NEW exception", Fault::kDevice},
      {"NPU", "L0 zeCommandQueueExecuteCommandLists result: ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001", Fault::kDevice},
      {"NPU", "L0 zeFenceHostSynchronize result: ZE_RESULT_ERROR_UNKNOWN, code 0x7ffffffe - unknown error", Fault::kDevice},
      {"NPU", "L0 zeMemAllocHost result: ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY", Fault::kDevice},
      {"NVIDIA", "the device was lost", Fault::kDevice},
      {"GPU.0", "GPU HANG: ecode 12:1", Fault::kDevice},
      // The device's words go before a check that they stand in.
      {"GPU.0", "Check 'shape.ok' failed at ocl_engine.cpp:1: [GPU] CL_OUT_OF_RESOURCES exception", Fault::kDevice},
      // The model: the same on every device.
      {"CPU", kOutOfResources, Fault::kModel},
      {"CPU", "anything", Fault::kModel},
      {"CPU", "", Fault::kModel},
      {"GPU.0", "Shape inference of Reshape node with name r failed: Check 'a == b' failed at src/core/shape_inference/x.hpp:9",
       Fault::kModel},
      {"GPU.0", "Check 'axis < rank' failed at src/plugins/intel_gpu/src/graph/gather.cpp:88", Fault::kModel},
      {"NPU", "Check 'x' failed at src/core/src/op/reshape.cpp:10", Fault::kModel},
      {"GPU.0", "Gather: indices values are out of range", Fault::kModel},
      {"VCPU", "While validating node 'opset1::Add'", Fault::kModel},
      // Neither.
      {"GPU.0",
       "Check '!exceed_allocatable_mem_size' failed at src/plugins/intel_gpu/src/runtime/ocl/ocl_engine.cpp:115:\n[GPU] "
       "Exceeded "
       "max size of memory object allocation: requested 2305843008391495680 bytes, but max alloc size supported by device is "
       "4294959104 bytes.Please try to reduce batch size or use lower precision.",
       Fault::kUnclear},
      {"GPU.0", "[GPU] clEnqueueNDRangeKernel, error code: -54", Fault::kUnclear},
      {"GPU.0", "clEnqueueNDRangeKernel failed: CL_INVALID_KERNEL_ARGS", Fault::kUnclear},
      {"NPU", "L0 zeGraphSetArgument result: ZE_RESULT_ERROR_INVALID_ARGUMENT, code 0x78000004", Fault::kUnclear},
      {"NPU", "Level0 pfnCreate2 result: ZE_RESULT_ERROR_MODULE_BUILD_FAILURE, code 0x70000004", Fault::kUnclear},
      {"NPU", "L0 pfnX result: ZE_RESULT_ERROR_UNSUPPORTED_FEATURE", Fault::kUnclear},
      {"NPU", "ZE_RESULT_ERROR_INVALID_ARGUMENT, then ZE_RESULT_ERROR_DEVICE_LOST", Fault::kDevice},
      {"GPU.0", "Check 'false' failed at src/plugins/intel_gpu/src/plugin/x.cpp:1: no", Fault::kUnclear},
      {"GPU.0", "std::bad_alloc", Fault::kUnclear},
      {"VCPU", "error code: ", Fault::kUnclear},
      {"GPU.0", "", Fault::kUnclear},
      {"GPU.0", std::string("[gpu] cl_"), Fault::kUnclear},
  };
  for (const auto& c : cases) EXPECT_EQ(ClassifyFault(c.device, c.message), c.fault) << c.device << ": " << c.message;
}

// As OpenVINO 2026.4's plugins write them.
TEST(IsShapeFaultTest, TellsShapeInferenceFromEverythingElse) {
  const std::string infer = "Exception from src/inference/src/cpp/infer_request.cpp:224:\n";
  const std::string cpu = infer + "Exception from src/plugins/intel_cpu/src/node.cpp:794:\n[CPU] ";
  for (const std::string& text : {
           cpu + "Divide node with name 'Divide_5283' Check 'input_shape[j] == 1' failed at "
                 "src/plugins/intel_cpu/src/shape_inference/custom/eltwise.cpp:52:\nEltwise shape infer input shapes dim "
                 "index: 0 mismatch\n",
           cpu + "Concat node with name 'c' Check 'TRShape::merge_into(output_shape, in_copy)' failed at "
                 "src/core/shape_inference/include/concat_shape_inference.hpp:43:\nWhile validating node 'opset1::Concat c ()'",
           infer + "Check 'TRShape::broadcast_merge_into(output_shape, input_shapes[1], autob)' failed at "
                   "src/core/shape_inference/include/eltwise_shape_inference.hpp:26:\nWhile validating node 'opset1::Add a () "
                   "-> ()' with friendly_name 'a':\nArgument shapes are inconsistent.\n",
       }) {
    EXPECT_TRUE(IsShapeFault(text)) << text;
  }
  for (const std::string& text : {
           std::string(),
           std::string("shape_inference"),
           infer + "std::bad_alloc",
           std::string(kOutOfResources),
           cpu + "TopK node with name 'shape_inference' Check 'top_k <= src_dims[axis]' failed at "
                 "src/plugins/intel_cpu/src/nodes/topk.cpp:2088:\nsrc/core/shape_inference/",
           infer + "Check '!is_dynamic() || has_upper_bound()' failed at src/plugins/intel_gpu/src/runtime/layout.cpp:295:\n"
                   "[GPU] get_tensor() is called for dynamic shape without upper bound",
           infer + "Exception from src/core/shape_inference/include/utils.hpp:1:\nsomething",
       }) {
    EXPECT_FALSE(IsShapeFault(text)) << text;
  }
}

TEST(MarkFaultTest, TheMarkTravelsWithTheStatusAndIsNotInItsMessage) {
  const Status plain = Error(StatusCode::kInternal, "went wrong");
  EXPECT_EQ(FaultOf(plain), Fault::kNone);
  EXPECT_EQ(FaultOf(absl::OkStatus()), Fault::kNone);
  EXPECT_EQ(FaultOf(MarkFault(absl::OkStatus(), Fault::kDevice)), Fault::kNone);
  for (const Fault fault : {Fault::kModel, Fault::kDevice, Fault::kUnclear}) {
    const Status marked = MarkFault(plain, fault);
    EXPECT_EQ(FaultOf(marked), fault);
    EXPECT_EQ(marked.code(), StatusCode::kInternal);
    EXPECT_EQ(Message(marked), "went wrong");
    const Status annotated = Annotate(marked, "model m");
    EXPECT_EQ(FaultOf(annotated), fault);
    EXPECT_EQ(Message(annotated), "model m: went wrong");
    EXPECT_EQ(FaultOf(MarkFault(marked, Fault::kNone)), Fault::kNone);
  }
}

TEST(MarkFaultTest, AForeignPayloadIsNoMark) {
  Status status = Error(StatusCode::kInternal, "x");
  status.SetPayload("switchyard/fault", absl::Cord("99"));
  EXPECT_EQ(FaultOf(status), Fault::kNone);
}

TEST(BlamedDevices, AreAllThatTheTextMaySpeakOf) {
  using Devices = std::vector<std::string>;
  EXPECT_EQ(BlamedDevices({"GPU.0", "NPU", "CPU"}, "[GPU] clFinish, error code: -5"), (Devices{"GPU.0"}));
  EXPECT_EQ(BlamedDevices({"GPU.0", "NPU", "CPU"}, "L0 failed: ZE_RESULT_ERROR_DEVICE_LOST"), (Devices{"NPU"}));
  EXPECT_EQ(BlamedDevices({"GPU.0", "GPU.1", "NPU"}, "CL_OUT_OF_RESOURCES"), (Devices{"GPU.0", "GPU.1"}));
  EXPECT_EQ(BlamedDevices({"CPU", "GPU.1", "NPU"}, "device lost"), (Devices{"GPU.1", "NPU"}));
  EXPECT_EQ(BlamedDevices({"CPU"}, "odd"), (Devices{"CPU"}));
}

}  // namespace
}  // namespace switchyard
