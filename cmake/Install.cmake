# What `cmake --install build/release --strip --prefix FOLDER --component NAME` puts where. `server`: the binary and OpenVINO's
# runtime for the CPU, the virtual devices and every model format that is served; `gpu` and `npu`: what a device adds to it.
# The binary finds its libraries beside itself, wherever FOLDER is or is moved to.
set_target_properties(switchyard PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
install(TARGETS switchyard RUNTIME DESTINATION bin COMPONENT server)

# OpenVINO looks for its plugins and readers beside libopenvino.so.
set(openvino_libraries "$<TARGET_FILE_DIR:openvino::runtime>/")
install(DIRECTORY ${openvino_libraries} DESTINATION lib COMPONENT server FILES_MATCHING
  PATTERN "libopenvino.so.*"
  PATTERN "libopenvino_intel_cpu_plugin.so"
  PATTERN "libopenvino_auto_plugin.so"
  PATTERN "libopenvino_auto_batch_plugin.so"
  PATTERN "libopenvino_hetero_plugin.so"
  PATTERN "libopenvino_ir_frontend.so.*"
  PATTERN "libopenvino_onnx_frontend.so.*"
  PATTERN "libopenvino_paddle_frontend.so.*"
  PATTERN "libopenvino_tensorflow_frontend.so.*"
  PATTERN "libopenvino_tensorflow_lite_frontend.so.*"
  PATTERN "libtbb.so.*"
  PATTERN "libtbbbind_2_5.so.*"
  PATTERN "libhwloc.so.*")
install(DIRECTORY ${openvino_libraries} DESTINATION lib COMPONENT gpu FILES_MATCHING
  PATTERN "libopenvino_intel_gpu_plugin.so"
  PATTERN "cache.json")
install(DIRECTORY ${openvino_libraries} DESTINATION lib COMPONENT npu FILES_MATCHING
  PATTERN "libopenvino_intel_npu_plugin.so")
install(FILES share/int8/quantize.py share/int8/requirements.txt DESTINATION share/switchyard/int8 COMPONENT server)
install(FILES share/catalog.json DESTINATION share/switchyard COMPONENT server)
install(FILES LICENSE DESTINATION share/doc/switchyard COMPONENT server)
