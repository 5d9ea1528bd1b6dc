# SPDX-License-Identifier: MIT
# How the dependencies are found: one text for the build tree and for the installed package.
# Each function leaves in `problem` an empty string, or a sentence saying what is missing and what brings it.

# Eigen 3.4 or newer. Asked for without a version and compared here: the version file of Eigen 3.4 refuses a request
# for a range that reaches into Eigen 5, and that of Eigen 5 refuses a request for 3.4.
function(data2vec_find_eigen problem)
  set(${problem} "" PARENT_SCOPE)
  find_package(Eigen3 QUIET NO_MODULE)
  if(NOT TARGET Eigen3::Eigen)
    set(${problem} "data2vec: Eigen 3.4 or newer was not found: install libeigen3-dev (Debian, Ubuntu), \
eigen3-devel (Fedora) or eigen (Homebrew, vcpkg, conda-forge), or set Eigen3_DIR" PARENT_SCOPE)
  elseif(DEFINED Eigen3_VERSION AND Eigen3_VERSION VERSION_LESS 3.4)
    set(${problem} "data2vec: Eigen 3.4 or newer is needed, found ${Eigen3_VERSION} in ${Eigen3_DIR}: \
install a newer libeigen3-dev, or set Eigen3_DIR" PARENT_SCOPE)
  endif()
  set(DATA2VEC_EIGEN_VERSION "${Eigen3_VERSION}" PARENT_SCOPE)
endfunction()

# The optional parts, each beyond data2vec::io, and what they need: package|target|header|library|package of Debian.
# Where a package has no CMake file, as Debian's of some have none, header and library are looked for, and the target is
# made here.
set(data2vec_parts io images audio text)
set(data2vec_needs_io
  "nlohmann_json|nlohmann_json::nlohmann_json|nlohmann/json.hpp||nlohmann-json3-dev"
  "ZLIB|ZLIB::ZLIB|zlib.h|z|zlib1g-dev")
set(data2vec_needs_images
  "PNG|PNG::PNG|png.h|png|libpng-dev"
  "JPEG|JPEG::JPEG|jpeglib.h|jpeg|libjpeg-dev")
set(data2vec_needs_audio
  "SndFile|SndFile::sndfile|sndfile.h|sndfile|libsndfile1-dev"
  "SampleRate|SampleRate::samplerate|samplerate.h|samplerate|libsamplerate0-dev")
set(data2vec_needs_text
  "utf8proc|utf8proc::utf8proc|utf8proc.h|utf8proc|libutf8proc-dev")

# What a part needs, as a list of targets.
function(data2vec_find_part part targets problem)
  set(found "")
  set(missing "")
  foreach(need IN LISTS data2vec_needs_${part})
    string(REPLACE "|" ";" need "${need}")
    list(GET need 0 package)
    list(GET need 1 target)
    list(GET need 2 header)
    list(GET need 3 library)
    list(GET need 4 debian)
    if(NOT TARGET ${target})
      find_package(${package} QUIET)
    endif()
    if(NOT TARGET ${target} AND library)
      find_path(DATA2VEC_${package}_INCLUDE_DIR ${header})
      find_library(DATA2VEC_${package}_LIBRARY ${library})
      mark_as_advanced(DATA2VEC_${package}_INCLUDE_DIR DATA2VEC_${package}_LIBRARY)
      if(DATA2VEC_${package}_INCLUDE_DIR AND DATA2VEC_${package}_LIBRARY)
        add_library(${target} UNKNOWN IMPORTED GLOBAL)
        set_target_properties(${target} PROPERTIES IMPORTED_LOCATION "${DATA2VEC_${package}_LIBRARY}"
          INTERFACE_INCLUDE_DIRECTORIES "${DATA2VEC_${package}_INCLUDE_DIR}")
      endif()
    endif()
    if(TARGET ${target})
      list(APPEND found ${target})
    else()
      list(APPEND missing "${package} (Debian: ${debian})")
    endif()
  endforeach()
  if(missing)
    list(JOIN missing ", " missing)
    set(missing "not found: ${missing}")
  endif()
  set(${targets} "${found}" PARENT_SCOPE)
  set(${problem} "${missing}" PARENT_SCOPE)
endfunction()

# What data2vec::cuda needs beyond data2vec::data2vec. CUDA 12.0 is the first with C++20 and with the interface of graphs
# that is used; compiled with 13.0 alone so far.
function(data2vec_find_cuda problem)
  set(${problem} "" PARENT_SCOPE)
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(${problem} "data2vec::cuda: nvcc was not found: install the CUDA toolkit, put nvcc on the PATH, or set \
CMAKE_CUDA_COMPILER" PARENT_SCOPE)
    return()
  endif()
  find_package(CUDAToolkit QUIET)
  set(CUDAToolkit_VERSION "${CUDAToolkit_VERSION}" PARENT_SCOPE)
  if(NOT TARGET CUDA::cublasLt)
    set(${problem} "data2vec::cuda: cuBLASLt was not found beside ${CMAKE_CUDA_COMPILER}: install libcublas-dev of the \
CUDA toolkit, or set CUDAToolkit_ROOT" PARENT_SCOPE)
  elseif(CUDAToolkit_VERSION VERSION_LESS 12.0)
    set(${problem} "data2vec::cuda: CUDA 12.0 or newer is needed, found ${CUDAToolkit_VERSION}: install a newer toolkit, \
or set CUDAToolkit_ROOT" PARENT_SCOPE)
  endif()
endfunction()

# The target itself: `scope` is INTERFACE, or INTERFACE IMPORTED. The standard is an option of nvcc and not a property,
# for CMake 3.25 knows no C++20 of nvcc 13; View's conversion to a view of constants is what warning 554 is about.
function(data2vec_add_cuda target scope base)
  add_library(${target} ${scope} ${ARGN})
  target_compile_options(${target} INTERFACE
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;--diag-suppress=554>")
  target_link_libraries(${target} INTERFACE ${base} CUDA::cudart CUDA::cublasLt)
endfunction()
