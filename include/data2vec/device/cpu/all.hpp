// SPDX-License-Identifier: MIT
// Every kernel of the processor.
#pragma once

#include <data2vec/device/cpu/adam.hpp>
#include <data2vec/device/cpu/alibi.hpp>
#include <data2vec/device/cpu/attention.hpp>
#include <data2vec/device/cpu/classify.hpp>
#include <data2vec/device/cpu/contrast.hpp>
#include <data2vec/device/cpu/conv.hpp>
#include <data2vec/device/cpu/cpu.hpp>
#include <data2vec/device/cpu/ctc.hpp>
#include <data2vec/device/cpu/dropout.hpp>
#include <data2vec/device/cpu/elementwise.hpp>
#include <data2vec/device/cpu/embedding.hpp>
#include <data2vec/device/cpu/gelu.hpp>
#include <data2vec/device/cpu/linear.hpp>
#include <data2vec/device/cpu/norm.hpp>
#include <data2vec/device/cpu/patches.hpp>
#include <data2vec/device/cpu/quantise.hpp>
#include <data2vec/device/cpu/reduce.hpp>
#include <data2vec/device/cpu/strided_conv.hpp>
#include <data2vec/device/cpu/time_norm.hpp>
#include <data2vec/device/cpu/weight_norm.hpp>
