// What `top -H`, `ps -L` and debuggers call this process's threads.
#pragma once

#include <pthread.h>

namespace switchyard {

// Names the calling thread; threads that it starts have that name until they give themselves another. At most 15 characters.
inline void NameThread(const char* name) { pthread_setname_np(pthread_self(), name); }

}  // namespace switchyard
