# Torch of the Python that runs the build, and the targets its rooms are made of.
#
#   npu_sim_torch                     headers (as SYSTEM), definitions and libraries of torch
#   npu_sim_fmt                       the fmt headers that torch carries, and nothing else of torch
#   npu_sim_torch_room(name src...)    a room that registers: object library <name>
#   npu_sim_python_module(name src...) the module torch_npu_sim/<name> that Python imports
#
# find_package(Torch) is not used: it looks for CUDA and drags in flags of its own.

set(NPU_SIM_TORCH_VERSION 2.13.0)

find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(
  COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/torch_facts.py ${NPU_SIM_TORCH_VERSION}
  OUTPUT_VARIABLE torch_facts
  ERROR_VARIABLE torch_error
  RESULT_VARIABLE torch_result
  OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT torch_result EQUAL 0)
  message(FATAL_ERROR "${torch_error}")
endif()
string(REPLACE "\n" ";" torch_facts "${torch_facts}")
list(GET torch_facts 0 NPU_SIM_TORCH_DIR)
list(GET torch_facts 1 torch_version)
list(GET torch_facts 2 torch_cxx11_abi)
message(STATUS "torch ${torch_version} in ${NPU_SIM_TORCH_DIR}")

# USE_KINETO: without it torch's headers hide the registry of PrivateUse1 profilers.
add_library(npu_sim_torch INTERFACE)
target_include_directories(
  npu_sim_torch SYSTEM
  INTERFACE ${NPU_SIM_TORCH_DIR}/include ${NPU_SIM_TORCH_DIR}/include/torch/csrc/api/include
            ${NPU_SIM_TORCH_DIR}/include/kineto ${Python_INCLUDE_DIRS})
target_compile_definitions(npu_sim_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=${torch_cxx11_abi}
                                                   USE_KINETO)
foreach(library IN ITEMS torch torch_cpu c10 torch_python)
  target_link_libraries(npu_sim_torch INTERFACE ${NPU_SIM_TORCH_DIR}/lib/lib${library}.so)
endforeach()

# A folder that holds only fmt, so that a torch-free room can use it and still not see torch.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/fmt_include)
file(CREATE_LINK ${NPU_SIM_TORCH_DIR}/include/fmt ${CMAKE_BINARY_DIR}/fmt_include/fmt SYMBOLIC)
add_library(npu_sim_fmt INTERFACE)
target_include_directories(npu_sim_fmt SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/fmt_include)
target_compile_definitions(npu_sim_fmt INTERFACE FMT_HEADER_ONLY)

# Parsing these three headers is most of a unit's compile time: done once for all torch rooms.
file(WRITE ${CMAKE_BINARY_DIR}/torch_headers/owner.cpp.in "// Owns the precompiled header.\n")
configure_file(${CMAKE_BINARY_DIR}/torch_headers/owner.cpp.in
               ${CMAKE_BINARY_DIR}/torch_headers/owner.cpp COPYONLY)
add_library(npu_sim_torch_headers OBJECT ${CMAKE_BINARY_DIR}/torch_headers/owner.cpp)
target_link_libraries(npu_sim_torch_headers PRIVATE npu_sim_options npu_sim_torch)
target_precompile_headers(npu_sim_torch_headers PRIVATE <ATen/core/Tensor.h>
                          <ATen/TensorIterator.h> <torch/library.h>)

# Object libraries, because a static one would drop the units that hold nothing but registrations.
function(npu_sim_torch_room name)
  add_library(${name} OBJECT ${ARGN})
  target_link_libraries(${name} PUBLIC npu_sim_options npu_sim_runtime npu_sim_torch)
  target_precompile_headers(${name} REUSE_FROM npu_sim_torch_headers)
endfunction()

# Python imports torch before this module, so torch's libraries are loaded by then; the rpath is
# for tools that load the module by itself.
function(npu_sim_python_module name)
  python_add_library(${name} MODULE WITH_SOABI ${ARGN})
  target_link_libraries(${name} PRIVATE npu_sim_options npu_sim_runtime npu_sim_torch)
  set_target_properties(
    ${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/torch_npu_sim
                       BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN/../torch/lib")
endfunction()
