// For a program that looks for leaks: libraries that were loaded stay. OpenVINO unloads frontends and extensions before the
// process ends; what their initialisers allocated would count as leaked then, by a module that no suppression can name.
extern "C" __attribute__((visibility("default"))) int dlclose(void*) { return 0; }
