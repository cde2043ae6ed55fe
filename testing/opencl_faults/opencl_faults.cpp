// A layer for the OpenCL loader (OPENCL_LAYERS) that makes a GPU fail while a program runs: the file that OPENCL_FAULTS_FILE
// names holds a list of faults (testing/faults/fault_file.h), which is looked at in every call that it may strike.
//   out_of_resources   clEnqueueNDRangeKernel fails with CL_OUT_OF_RESOURCES, the way production GPUs are lost
//   out_of_memory      memory objects and USM allocations are refused with CL_MEM_OBJECT_ALLOCATION_FAILURE
//   hang               submissions return, and nothing that waits for them does until the fault is gone
//   compile_abort, compile_segv, compile_hang   whoever compiles an addition ends by that signal, or does not return
//   list_abort, list_segv, list_hang            likewise whoever asks for the platforms
// "@INDEX" is the position among the devices of the platform; where a call tells no device, it is that of the context, if it
// has but one. once_in:N is heeded by the first two.
#if !__has_include(<CL/cl_layer.h>)
#error "OpenCL's headers are missing: scripts/install_packages scripts/packages.test"
#endif
#include <CL/cl_ext.h>
#include <CL/cl_layer.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "testing/faults/fault_file.h"

namespace opencl_faults {
namespace {

constexpr std::chrono::milliseconds kHangPoll{10};
constexpr char kName[] = "Switchyard's faults";

const cl_icd_dispatch* next;  // the loader's, or the next layer's
cl_icd_dispatch table;        // ours: a copy with the calls below in it

switchyard::testing::FaultFile& Faults() {
  static auto* faults = [] {
    const char* path = getenv("OPENCL_FAULTS_FILE");
    return new switchyard::testing::FaultFile("", path ? path : "");  // never freed: the host's threads may outlive statics
  }();
  return *faults;
}

// ---- which device

int IndexOf(cl_device_id device) {
  cl_platform_id platform = nullptr;
  if (!device || next->clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof platform, &platform, nullptr) != CL_SUCCESS)
    return -1;
  cl_uint count = 0;
  if (next->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &count) != CL_SUCCESS) return -1;
  std::vector<cl_device_id> devices(count);
  if (next->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, devices.data(), nullptr) != CL_SUCCESS) return -1;
  for (cl_uint i = 0; i < count; ++i) {
    if (devices[i] == device) return static_cast<int>(i);
  }
  return -1;
}

int IndexOf(cl_command_queue queue) {
  cl_device_id device = nullptr;
  if (!queue || next->clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, nullptr) != CL_SUCCESS) return -1;
  return IndexOf(device);
}

int IndexOf(cl_event event) {
  cl_command_queue queue = nullptr;
  if (next->clGetEventInfo(event, CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, nullptr) != CL_SUCCESS) return -1;
  return IndexOf(queue);  // none for an event of the user's
}

// The one device of a context; -1 where there are several.
int IndexOf(cl_context context) {
  size_t size = 0;
  cl_device_id device = nullptr;
  if (next->clGetContextInfo(context, CL_CONTEXT_DEVICES, 0, nullptr, &size) != CL_SUCCESS || size != sizeof device) return -1;
  if (next->clGetContextInfo(context, CL_CONTEXT_DEVICES, size, &device, nullptr) != CL_SUCCESS) return -1;
  return IndexOf(device);
}

// ---- faults

void WaitWhileHung(int device) {
  while (Faults().Stands("hang", device)) std::this_thread::sleep_for(kHangPoll);
}

bool RefuseMemory(int device, cl_int* error) {
  if (!Faults().Strikes("out_of_memory", device)) return false;
  if (error) *error = CL_MEM_OBJECT_ALLOCATION_FAILURE;
  return true;
}

cl_int CL_API_CALL EnqueueKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t* offset,
                                 const size_t* global, const size_t* local, cl_uint count, const cl_event* waits,
                                 cl_event* event) {
  if (Faults().Strikes("out_of_resources", IndexOf(queue))) return CL_OUT_OF_RESOURCES;
  return next->clEnqueueNDRangeKernel(queue, kernel, dimensions, offset, global, local, count, waits, event);
}

// What the cache holds comes as a binary. The compiler breaks on additions alone: neither on what is compiled to look at the
// device nor on a canary.
cl_program CL_API_CALL CreateProgramWithSource(cl_context context, cl_uint count, const char** texts, const size_t* lengths,
                                               cl_int* error) {
  const auto adds = [&](cl_uint i) {
    const std::string_view text = lengths && lengths[i] ? std::string_view(texts[i], lengths[i]) : std::string_view(texts[i]);
    return text.find("eltwise") != text.npos;
  };
  bool found = false;
  for (cl_uint i = 0; texts && i < count; ++i) found = found || adds(i);
  if (found) switchyard::testing::Break(Faults(), "compile", IndexOf(context));
  return next->clCreateProgramWithSource(context, count, texts, lengths, error);
}

cl_int CL_API_CALL GetPlatforms(cl_uint count, cl_platform_id* platforms, cl_uint* found) {
  switchyard::testing::Break(Faults(), "list");
  return next->clGetPlatformIDs(count, platforms, found);
}

// ---- what waits

cl_int CL_API_CALL WaitForEvents(cl_uint count, const cl_event* events) {
  for (cl_uint i = 0; events && i < count; ++i) WaitWhileHung(IndexOf(events[i]));
  return next->clWaitForEvents(count, events);
}

cl_int CL_API_CALL Finish(cl_command_queue queue) {
  WaitWhileHung(IndexOf(queue));
  return next->clFinish(queue);
}

// A program that polls sees a command that never ends.
cl_int CL_API_CALL GetEventInfo(cl_event event, cl_event_info what, size_t size, void* value, size_t* size_needed) {
  cl_int result = next->clGetEventInfo(event, what, size, value, size_needed);
  if (what != CL_EVENT_COMMAND_EXECUTION_STATUS || result != CL_SUCCESS || !value || size < sizeof(cl_int)) return result;
  cl_int status;
  memcpy(&status, value, sizeof status);
  int device = status == CL_COMPLETE ? IndexOf(event) : -1;
  if (device >= 0 && Faults().Stands("hang", device)) {
    status = CL_SUBMITTED;
    memcpy(value, &status, sizeof status);
  }
  return result;
}

cl_int CL_API_CALL ReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size, void* to,
                              cl_uint count, const cl_event* waits, cl_event* event) {
  if (blocking) WaitWhileHung(IndexOf(queue));
  return next->clEnqueueReadBuffer(queue, buffer, blocking, offset, size, to, count, waits, event);
}

cl_int CL_API_CALL WriteBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
                               const void* from, cl_uint count, const cl_event* waits, cl_event* event) {
  if (blocking) WaitWhileHung(IndexOf(queue));
  return next->clEnqueueWriteBuffer(queue, buffer, blocking, offset, size, from, count, waits, event);
}

void* CL_API_CALL MapBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, cl_map_flags flags, size_t offset,
                            size_t size, cl_uint count, const cl_event* waits, cl_event* event, cl_int* error) {
  if (blocking) WaitWhileHung(IndexOf(queue));
  return next->clEnqueueMapBuffer(queue, buffer, blocking, flags, offset, size, count, waits, event, error);
}

// ---- memory

cl_mem CL_API_CALL CreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void* host, cl_int* error) {
  if (RefuseMemory(IndexOf(context), error)) return nullptr;
  return next->clCreateBuffer(context, flags, size, host, error);
}

cl_mem CL_API_CALL CreateImage(cl_context context, cl_mem_flags flags, const cl_image_format* format,
                               const cl_image_desc* shape, void* host, cl_int* error) {
  if (RefuseMemory(IndexOf(context), error)) return nullptr;
  return next->clCreateImage(context, flags, format, shape, host, error);
}

void* CL_API_CALL SvmAlloc(cl_context context, cl_svm_mem_flags flags, size_t size, cl_uint alignment) {
  if (RefuseMemory(IndexOf(context), nullptr)) return nullptr;
  return next->clSVMAlloc(context, flags, size, alignment);
}

// ---- Intel's unified memory, whose functions are asked for by name

clHostMemAllocINTEL_fn host_alloc;
clDeviceMemAllocINTEL_fn device_alloc;
clSharedMemAllocINTEL_fn shared_alloc;
clEnqueueMemcpyINTEL_fn memcpy_usm;

void* CL_API_CALL HostAlloc(cl_context context, const cl_mem_properties_intel* properties, size_t size, cl_uint alignment,
                            cl_int* error) {
  if (RefuseMemory(IndexOf(context), error)) return nullptr;
  return host_alloc(context, properties, size, alignment, error);
}

void* CL_API_CALL DeviceAlloc(cl_context context, cl_device_id device, const cl_mem_properties_intel* properties, size_t size,
                              cl_uint alignment, cl_int* error) {
  if (RefuseMemory(IndexOf(device), error)) return nullptr;
  return device_alloc(context, device, properties, size, alignment, error);
}

void* CL_API_CALL SharedAlloc(cl_context context, cl_device_id device, const cl_mem_properties_intel* properties, size_t size,
                              cl_uint alignment, cl_int* error) {
  if (RefuseMemory(IndexOf(device), error)) return nullptr;
  return shared_alloc(context, device, properties, size, alignment, error);
}

cl_int CL_API_CALL MemcpyUsm(cl_command_queue queue, cl_bool blocking, void* to, const void* from, size_t size, cl_uint count,
                             const cl_event* waits, cl_event* event) {
  if (blocking) WaitWhileHung(IndexOf(queue));
  return memcpy_usm(queue, blocking, to, from, size, count, waits, event);
}

// Keeps the driver's function, which is the same for all devices of a driver, and hands ours out.
template <class F>
void* Replace(F* real, void* found, F ours) {
  *real = reinterpret_cast<F>(found);
  return reinterpret_cast<void*>(ours);
}

void* CL_API_CALL GetFunction(cl_platform_id platform, const char* name) {
  void* found = next->clGetExtensionFunctionAddressForPlatform(platform, name);
  std::string_view asked = name ? name : "";
  if (!found) return nullptr;
  if (asked == "clHostMemAllocINTEL") return Replace(&host_alloc, found, &HostAlloc);
  if (asked == "clDeviceMemAllocINTEL") return Replace(&device_alloc, found, &DeviceAlloc);
  if (asked == "clSharedMemAllocINTEL") return Replace(&shared_alloc, found, &SharedAlloc);
  if (asked == "clEnqueueMemcpyINTEL") return Replace(&memcpy_usm, found, &MemcpyUsm);
  return found;
}

}  // namespace
}  // namespace opencl_faults

using namespace opencl_faults;  // NOLINT: what follows has C's names

extern "C" __attribute__((visibility("default"))) cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size,
                                                                                    void* value, size_t* size_needed) {
  constexpr cl_uint kVersion = CL_LAYER_API_VERSION_100;
  const void* answer = what == CL_LAYER_API_VERSION ? static_cast<const void*>(&kVersion) : kName;
  size_t needed = what == CL_LAYER_API_VERSION ? sizeof kVersion : sizeof kName;
  if (what != CL_LAYER_API_VERSION && what != CL_LAYER_NAME) return CL_INVALID_VALUE;
  if (value && size < needed) return CL_INVALID_VALUE;
  if (value) memcpy(value, answer, needed);
  if (size_needed) *size_needed = needed;
  return CL_SUCCESS;
}

extern "C" __attribute__((visibility("default"))) cl_int CL_API_CALL clInitLayer(cl_uint count, const cl_icd_dispatch* target,
                                                                                 cl_uint* count_of_layer,
                                                                                 const cl_icd_dispatch** layer) {
  if (!target || !count_of_layer || !layer || count < sizeof table / sizeof(void*)) return CL_INVALID_VALUE;
  next = target;
  memcpy(&table, target, sizeof table);
  table.clGetPlatformIDs = GetPlatforms;
  table.clEnqueueNDRangeKernel = EnqueueKernel;
  table.clCreateProgramWithSource = CreateProgramWithSource;
  table.clWaitForEvents = WaitForEvents;
  table.clFinish = Finish;
  table.clGetEventInfo = GetEventInfo;
  table.clEnqueueReadBuffer = ReadBuffer;
  table.clEnqueueWriteBuffer = WriteBuffer;
  table.clEnqueueMapBuffer = MapBuffer;
  table.clCreateBuffer = CreateBuffer;
  table.clCreateImage = CreateImage;
  table.clSVMAlloc = SvmAlloc;
  table.clGetExtensionFunctionAddressForPlatform = GetFunction;
  *layer = &table;
  *count_of_layer = sizeof table / sizeof(void*);
  return CL_SUCCESS;
}
