// The simulated driver's one device and one context: their addresses are the handles.
#pragma once

namespace npusim {

extern int driver, device, context;

}  // namespace npusim
