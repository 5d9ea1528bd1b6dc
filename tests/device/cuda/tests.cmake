# SPDX-License-Identifier: MIT
# The device's tests. Everywhere: arithmetic, index arithmetic, and the kernels and the trainer on a device made of the
# host (host/ stands for the CUDA headers). With D2V_CUDA: all of it on a real device, skipped where there is none.
set(d2v_cuda_tests "${CMAKE_CURRENT_SOURCE_DIR}/device/cuda")
file(GLOB sources CONFIGURE_DEPENDS "${d2v_cuda_tests}/*.cpp")
foreach(source IN LISTS sources)
  d2v_add_test("${source}")
endforeach()
foreach(name kernels layers halves sequences trainer systems wav2vec2 finetuner features probe)
  target_include_directories(test_device_cuda_${name} BEFORE PRIVATE "${d2v_cuda_tests}/host")
  # Kernels mix numbers of threads, which are unsigned, with int; #pragma unroll is nvcc's.
  target_compile_options(test_device_cuda_${name} PRIVATE -Wno-unknown-pragmas -Wno-sign-conversion)
endforeach()
target_sources(test_device_cuda_trainer PRIVATE "${d2v_cuda_tests}/host/trainer_on_cpu.cpp")
foreach(name systems wav2vec2)
  target_sources(test_device_cuda_${name} PRIVATE "${d2v_cuda_tests}/host/systems_on_cpu.cpp")
endforeach()

if(TARGET data2vec::cuda)
  file(GLOB sources CONFIGURE_DEPENDS "${d2v_cuda_tests}/gpu/*.cu")
  add_library(d2v_cuda_cases STATIC ${sources})
  target_link_libraries(d2v_cuda_cases PRIVATE data2vec::cuda)
  target_include_directories(d2v_cuda_cases PRIVATE "${PROJECT_SOURCE_DIR}")
  add_executable(test_device_cuda_agreement "${d2v_cuda_tests}/gpu/agreement.cpp"
    "${d2v_cuda_tests}/host/trainer_on_cpu.cpp" "${d2v_cuda_tests}/host/systems_on_cpu.cpp")
  target_link_libraries(test_device_cuda_agreement PRIVATE data2vec::data2vec d2v_options d2v_test_main
    doctest::doctest d2v_cuda_cases)
  target_include_directories(test_device_cuda_agreement PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_options(test_device_cuda_agreement PRIVATE -Werror $<$<CONFIG:Release>:-O2> -UNDEBUG)
  add_test(NAME device/cuda/agreement COMMAND test_device_cuda_agreement)
  set_tests_properties(device/cuda/agreement PROPERTIES LABELS device/cuda TIMEOUT 600
    SKIP_REGULAR_EXPRESSION "skipped: no CUDA device")
  set_property(GLOBAL APPEND PROPERTY d2v_tests device/cuda/agreement)
endif()
