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

# What data2vec::images needs beyond data2vec::io.
function(data2vec_find_images problem)
  set(missing "")
  find_package(PNG QUIET)
  if(NOT TARGET PNG::PNG)
    list(APPEND missing "libpng (Debian: libpng-dev)")
  endif()
  find_package(JPEG QUIET)
  if(NOT TARGET JPEG::JPEG)
    list(APPEND missing "libjpeg (Debian: libjpeg-dev)")
  endif()
  if(missing)
    list(JOIN missing ", " missing)
    set(missing "not found: ${missing}")
  endif()
  set(${problem} "${missing}" PARENT_SCOPE)
endfunction()

# What data2vec::io needs beyond data2vec::data2vec.
function(data2vec_find_io problem)
  set(missing "")
  find_package(nlohmann_json QUIET)
  if(NOT TARGET nlohmann_json::nlohmann_json)
    list(APPEND missing "nlohmann_json (Debian: nlohmann-json3-dev)")
  endif()
  find_package(ZLIB QUIET)
  if(NOT TARGET ZLIB::ZLIB)
    list(APPEND missing "zlib (Debian: zlib1g-dev)")
  endif()
  if(missing)
    list(JOIN missing ", " missing)
    set(missing "not found: ${missing}")
  endif()
  set(${problem} "${missing}" PARENT_SCOPE)
endfunction()
