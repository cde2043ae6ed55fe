// NumPy's .npy files, versions 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <string_view>

#include "base/status.h"
#include "tools/client_tensor.h"

namespace switchyard {

// Little-endian numbers and booleans in C order. INVALID_ARGUMENT says what is not supported or broken.
StatusOr<ClientTensor> ParseNpy(std::string_view file);

// The same values in another type; INVALID_ARGUMENT when one of them does not fit.
StatusOr<ClientTensor> ConvertTo(ElementType type, ClientTensor tensor);

}  // namespace switchyard
