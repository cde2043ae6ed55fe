// Tensors of a call that lie in memory that client and server share: inputs are read and outputs are written where they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "serving/shared_regions.h"

namespace switchyard {

class InferCall;
struct NamedOutput;

struct SharedPlace {
  std::string region;
  uint64_t offset = 0;  // into the region
  uint64_t bytes = 0;   // of an input, exactly; of an output, the most
};

// The part of a request that the codec fills; serving/ adds where that is.
struct SharedTensors {
  struct Tensor {
    size_t index = 0;  // into the request's inputs or requested_outputs
    SharedPlace place;
    std::byte* data = nullptr;
  };

  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;  // after PlaceOutputs: `index` is one of the signature's outputs
  // As long as the call, which the device has until it is done: also when it was answered, or run elsewhere, long before.
  std::vector<RegionHandle> regions;

  // OK, or whose memory is damaged.
  Status Health() const;
};

// Points the call's inputs into their regions, which the call holds from now on. Elements of 32- and 64-bit integers and
// strings are copied: models take the former for indices, which must not change between a check and the use, and the latter are
// lengths and texts. `regions` null: PermissionDenied, naming the flag. InvalidArgument: a region that is not there, a place
// that is not within it. FailedPrecondition: the region is damaged.
Status ResolveShared(const SharedRegions* regions, InferCall& call);

// Of a call that was validated: what may be written in place, in call.output_places. InvalidArgument: a place is too small for
// an output whose size is known.
Status PlaceOutputs(InferCall& call);

// Brings output `index` of the signature to its place, if it has one and is not there yet, and says so in `output`.
// InvalidArgument: the place is too small.
Status PutOutput(const InferCall& call, size_t index, NamedOutput& output);

}  // namespace switchyard
